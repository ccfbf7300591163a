"""The edge to skopeo: what its words mean, which one is used, and that none of them outlives us.

The real skopeo runs wherever it can. A script stands in for it where it would take minutes (its own patience with "too many
requests") or where it must not be the real one (too old, strange).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings

from pipeline.core import reference
from pipeline.core.bundle import Access
from pipeline.core.errors import EXIT_COULD_NOT, Cause, EnvironmentProblem, Interrupted, RegistryError
from pipeline.core.interruption import Interruption
from pipeline.core.redact import redact
from pipeline.core.reference import Reference
from pipeline.registry import retry as attempts
from pipeline.registry.skopeo import client as skopeo
from pipeline.registry.skopeo.client import Skopeo, find_program
from pipeline.registry.skopeo.messages import classify
from pipeline.registry.throttle import Throttle
from tests.support.images import image, layer
from tests.support.messages import MESSAGES
from tests.support.push import PushedImage, push
from tests.support.registry import Registry
from tests.support.run import spawn
from tests.unit.core.test_reference import references

NAME = reference.parse("r.io/team/app:v1")

PARENT = """
import sys
from pathlib import Path
from pipeline.core import reference
from pipeline.core.bundle import Access
from pipeline.core.interruption import Interruption
from pipeline.registry.skopeo.client import Skopeo
name = reference.parse(sys.argv[1])
client = Skopeo(Access(tls_verify=False), Interruption())
if sys.argv[2] == "copy":
    client.copy(name, Path.cwd(), "image", "share", lambda: Path("image").mkdir(exist_ok=True))
else:
    client.manifest(name)
"""


@pytest.fixture(autouse=True)
def looked_for_again() -> Iterator[None]:
    """The program is looked for once a process; here, once a test."""
    find_program.cache_clear()
    yield
    find_program.cache_clear()


@pytest.fixture
def work(clean_environment: Path) -> Path:
    return clean_environment


StandIn = Callable[..., Path]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """``stand_in(script)`` puts a script in place of skopeo; each run of it adds a line to ``calls``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def put(script: str = "", version: str = "skopeo version 1.9.3") -> Path:
        program = folder / "skopeo"
        program.write_text(
            f'#!/bin/sh\nif [ "$1" = --version ]; then echo \'{version}\'; exit; fi\necho "$@" >> {tmp_path}/calls\n{script}\n'
        )
        program.chmod(0o755)
        return program

    return put


def calls(tmp_path: Path) -> list[str]:
    return (tmp_path / "calls").read_text().splitlines()


def client(retries: int = 0, interruption: Interruption | None = None, **access: object) -> Skopeo:
    return Skopeo(Access(retries=retries, **access), interruption or Interruption())  # type: ignore[arg-type]


@pytest.fixture
def silent() -> Iterator[str]:
    """A host that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def running(text: str) -> list[int]:
    """Processes other than this one with ``text`` in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if text.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.01)
    return True


# What it says


def test_what_the_oldest_skopeo_says_is_understood() -> None:
    """Bytes that are wrong or no JSON may be better the next time; a platform that is missing stays missing."""
    expected = {message.situation + message.text: message for message in MESSAGES}
    assert len(expected) > 100
    found = {message.situation: (message.cause, classify(message.text).name) for message in MESSAGES}
    named = {situation: pair for situation, pair in found.items() if pair[0] in Cause.__members__}
    assert {situation: pair for situation, pair in named.items() if pair[0] != pair[1]} == {}
    can_pass = {"CONTENT": True, "PLATFORM": False}
    others = [message for message in MESSAGES if message.cause in can_pass]
    assert [message for message in others if classify(message.text).can_pass != can_pass[message.cause]] == []


def test_the_names_of_images_have_no_say() -> None:
    """``jetstack/certificate:503`` failing for another reason is not a bad certificate, nor a server error."""
    evil = "team/certificate-unauthorized.404/toomanyrequests-429"
    for message in MESSAGES:
        renamed = message.text.replace("manifest v1 in", "manifest 503 in").replace(":v1", ":503")
        for name in ("team/app", "team/arm", "team/odd", "team/none"):
            renamed = renamed.replace(name, evil)
        assert classify(renamed) is classify(message.text), message.situation


def test_what_newer_ones_and_other_registries_say() -> None:
    for text, cause in {
        "toomanyrequests: You have reached your pull rate limit.": Cause.QUOTA,
        "toomanyrequests: retry-after: 241.291µs, allowed: 44000/minute": Cause.RATE_LIMITED,
        "received unexpected HTTP status: 429 Too Many Requests": Cause.RATE_LIMITED,
        "reading manifest v1 in quay.io/a/b: unauthorized: access to the resource is not authorized": Cause.UNAUTHORIZED,
        "requested access to the resource is denied": Cause.UNAUTHORIZED,
        "reading manifest v9 in docker.io/library/nginx: manifest unknown": Cause.NOT_FOUND,
        "name unknown: Repository not found": Cause.NOT_FOUND,
        "tls: failed to verify certificate: x509: certificate signed by unknown authority": Cause.CERTIFICATE,
        "http: server gave HTTP response to HTTPS client": Cause.CERTIFICATE,
        'Get "https://r.io/v2/": dial tcp: lookup r.io: no such host': Cause.NETWORK,
        "dial tcp 10.0.0.1:443: connect: connection refused": Cause.NETWORK,
        "read tcp 10.0.0.1:1->10.0.0.2:443: read: connection reset by peer": Cause.NETWORK,
        "unexpected EOF": Cause.NETWORK,
        "net/http: TLS handshake timeout": Cause.NETWORK,
        "context deadline exceeded": Cause.NETWORK,
        "received unexpected HTTP status: 503 Service Unavailable": Cause.SERVER,
        "received unexpected HTTP status: 502 Bad Gateway": Cause.SERVER,
        "unsupported MIME type": Cause.UNSUPPORTED,
        "something that nobody has seen": Cause.UNKNOWN,
        "": Cause.UNKNOWN,
    }.items():
        assert classify(text) is cause, text


def test_a_failure_carries_cause_and_reason_without_the_frame(stand_in: StandIn, tmp_path: Path) -> None:
    by_cause = {message.cause: message for message in MESSAGES if message.situation.startswith("inspect:")}
    for cause in ("NOT_FOUND", "UNAUTHORIZED", "CERTIFICATE"):
        (tmp_path / "words").write_text(by_cause[cause].text)
        stand_in(f"cat {tmp_path}/words >&2; exit 1")
        with pytest.raises(RegistryError) as caught:
            client(retries=3).manifest(NAME)
        assert caught.value.cause is Cause[cause]
        assert Cause[cause].value in str(caught.value)
        assert "level=" not in str(caught.value)
        assert "\\" not in str(caught.value)
    assert len(calls(tmp_path)) == 3, "none of these is tried again"


def test_a_long_complaint_is_cut_and_none_is_named(stand_in: StandIn) -> None:
    stand_in('i=0; while [ $i -lt 2000 ]; do printf "word$i " >&2; i=$((i+1)); done; exit 1')
    with pytest.raises(RegistryError) as caught:
        client().manifest(NAME)
    assert len(str(caught.value)) < 600
    stand_in("exit 1")
    with pytest.raises(RegistryError, match="without a word"):
        client().manifest(NAME)


def test_a_full_disk_is_ours_only_where_we_write(stand_in: StandIn, work: Path) -> None:
    (work / "image").mkdir()
    stand_in('echo "time=x level=fatal msg=\\"writing blob: write image/oci-put-blob1: no space left on device\\"" >&2; exit 1')
    with pytest.raises(EnvironmentProblem, match="disk of the cache is full") as caught:
        client(retries=3).copy(NAME, work, "image", "share", lambda: None)
    assert caught.value.exit_code == EXIT_COULD_NOT
    stand_in('echo "time=x level=fatal msg=\\"received unexpected HTTP status: 500: no space left on device\\"" >&2; exit 1')
    with pytest.raises(RegistryError):
        client().copy(NAME, work, "image", "share", lambda: None)


# Secrets


def test_secrets_are_taken_out() -> None:
    secret = "s3cr3tS3cr3tS3cr3t"
    for text, kept in {
        f"Get https://user:{secret}@r.io/v2/: no": "r.io/v2/",
        f"Get https://user:p@{secret}@r.io/v2/": "r.io/v2/",
        f"Get https://{secret}@r.io/v2/": "r.io/v2/",
        f'Get "https://cdn.io/blob?X-Amz-Signature={secret}&e=1": EOF': "https://cdn.io/blob",
        f"https://cdn.io/a?sig={secret} and https://cdn.io/b?sig={secret}": "https://cdn.io/b",
        f"Authorization: Bearer {secret}": "Bearer",
        f"authorization: Basic {secret}==": "Basic",
    }.items():
        assert secret not in redact(text)
        assert kept in redact(text)
    assert redact(redact(f"https://u:{secret}@r.io/?a={secret}")) == redact(f"https://u:{secret}@r.io/?a={secret}")


@settings(max_examples=40)
@given(references())
def test_a_reference_is_no_secret(name: Reference) -> None:
    for text in (str(name), f"docker://{name}", f'Error parsing image name "docker://{name}": reading manifest'):
        assert redact(text) == text


def test_no_secret_of_skopeos_words_is_passed_on(stand_in: StandIn) -> None:
    stand_in('echo "FATA Get https://user:s3cr3t@r.io/v2/?token=s3cr3t: denied" >&2; exit 1')
    with pytest.raises(RegistryError) as caught:
        client().manifest(NAME)
    assert "s3cr3t" not in str(caught.value)
    assert "denied" in str(caught.value)


# Which program


def refused() -> str:
    with pytest.raises(EnvironmentProblem) as caught:
        find_program()
    assert caught.value.exit_code == EXIT_COULD_NOT
    assert "TIP: install it" in str(caught.value)
    return str(caught.value)


def test_the_real_one_is_found() -> None:
    assert find_program().endswith("/skopeo")


def test_a_missing_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "not installed" in refused()
    (tmp_path / "skopeo").write_text("#!/bin/sh\n")
    assert "not installed" in refused(), "it is no program"


@pytest.mark.parametrize("version", ["0.1.41", "1.4.1", "1.8.99", "1.9.2"])
def test_one_that_is_too_old(stand_in: StandIn, version: str) -> None:
    stand_in(version=f"skopeo version {version}")
    message = refused()
    assert f"skopeo {version} is too old" in message
    assert "1.9.3" in message


def test_any_that_is_new_enough(stand_in: StandIn) -> None:
    for version in ("1.9.3", "1.9.10", "1.10.0", "1.22.0", "2.0.0", "1.14.0-dev", "1.22.0 commit: 0123456"):
        find_program.cache_clear()
        program = stand_in(version=f"skopeo version {version}")
        assert find_program() == str(program)


def test_one_that_is_something_else(stand_in: StandIn) -> None:
    for answer in ("", "hello", "skopeo", "version unknown", "\\377\\376", "skopeo version one.two.three"):
        stand_in(version=answer)
        assert "does not answer as skopeo does" in refused()
    program = stand_in()
    for content in (b"no program\x00\x01", b"\x7fELF garbage", b"#!/no/such/interpreter\n", b"#!/bin/sh\nkill -9 $$\n"):
        program.write_bytes(content)
        assert "does not answer as skopeo does" in refused()


def test_its_complaint_is_told_without_secrets(stand_in: StandIn) -> None:
    stand_in().write_text("#!/bin/sh\necho 'cannot load https://u:s3cr3t@proxy/' >&2; exit 1\n")
    message = refused()
    assert "cannot load" in message
    assert "s3cr3t" not in message


def test_one_that_never_answers(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skopeo, "VERSION_TIMEOUT", 0.2)
    stand_in().write_text("#!/bin/sh\nexec sleep 60\n")
    assert "does not answer as skopeo does" in refused()


def test_it_is_looked_for_once(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    program = stand_in()
    found = find_program()
    program.unlink()
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_program() == found


# How it is called


@pytest.fixture(scope="session")
def behind_login(login_registry: Registry) -> PushedImage:
    return push(login_registry, "skopeo/login", "v1", image(layers=[layer("skopeo/login")]))


@pytest.mark.parametrize("variable", ["REGISTRY_AUTH_FILE", "DOCKER_CONFIG"])
def test_logins_are_found_from_the_users_folder_though_skopeo_runs_in_the_cache(
    variable: str, behind_login: PushedImage, login_registry: Registry, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = login_registry.auth_file(work / "logins")
    place = written if variable == "REGISTRY_AUTH_FILE" else written.parent
    monkeypatch.setenv(variable, os.path.relpath(place, work))
    cache = work / "a:cache"
    cache.mkdir()
    name = reference.parse(behind_login.reference)
    Skopeo(Access(cert_dir=login_registry.cert_dir, retries=0), Interruption()).copy(
        name, cache, "images/x", "share", lambda: (cache / "images/x").mkdir(parents=True)
    )
    assert {path.name for path in (cache / "share/sha256").iterdir()} >= {
        digest.partition(":")[2] for digest in behind_login.layers
    }


def test_a_login_that_is_missing_is_said_not_taken_for_none(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, work: Path
) -> None:
    stand_in()
    for variable in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG"):
        monkeypatch.setenv(variable, "missing")
        with pytest.raises(EnvironmentProblem, match=f"{variable} names {work}/missing, which does not exist"):
            client()
        (work / "auth").touch()
        client(authfile=work / "auth")
        monkeypatch.delenv(variable)


def test_access_becomes_flags_and_no_secret_does(stand_in: StandIn, work: Path, tmp_path: Path) -> None:
    (work / "auth").write_text('{"auths":{"r.io":{"auth":"czNjcjN0"}}}')
    (work / "certs").mkdir()
    stand_in("echo raw")
    whole = client(authfile=work / "auth", cert_dir=work / "certs", tls_verify=False)
    assert whole.manifest(NAME) == b"raw\n"
    assert whole.config(NAME) == b"raw\n"
    whole.copy(NAME, work, "image", "share", lambda: None)
    client().manifest(NAME)
    manifest, config, copied, plain = calls(tmp_path)
    flags = f"--tls-verify=false --authfile {work}/auth --cert-dir {work}/certs"
    assert f"inspect --raw {flags} docker://{NAME}" in manifest
    assert f"inspect --config --raw {flags} docker://{NAME}" in config
    assert flags.replace("--", "--src-") in copied
    assert copied.endswith(f"docker://{NAME} oci:image")
    assert "--dest-oci-accept-uncompressed-layers --remove-signatures --dest-shared-blob-dir share" in copied
    assert plain.endswith(f"inspect --raw docker://{NAME}")


def test_the_bytes_are_those_that_were_served(stand_in: StandIn, tmp_path: Path) -> None:
    data = bytes(range(256)) * 4096
    (tmp_path / "data").write_bytes(data)
    stand_in(f"cat {tmp_path}/data; echo warning >&2")
    assert client().manifest(NAME) == data


# Trying again


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MAX_PAUSE", 0.01)


def failing(tmp_path: Path, times: int, words: str) -> str:
    """A script that fails so many times."""
    return f'[ $(wc -l < {tmp_path}/calls) -gt {times} ] && {{ echo ok; exit; }}; echo "{words}" >&2; exit 1'


@pytest.mark.usefixtures("hurried")
def test_what_can_pass_is_tried_again(stand_in: StandIn, tmp_path: Path) -> None:
    for number, words in enumerate(("unexpected EOF", "503 Service Unavailable", "toomanyrequests: slow down"), start=1):
        (tmp_path / "calls").write_text("")
        stand_in(failing(tmp_path, 2, words))
        assert client(retries=2).manifest(reference.parse(f"r{number}.io/a")) == b"ok\n"
        assert len(calls(tmp_path)) == 3


@pytest.mark.usefixtures("hurried")
def test_it_is_tried_as_often_as_was_asked(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in(failing(tmp_path, 99, "connection reset by peer"))
    for retries in (0, 1, 3):
        (tmp_path / "calls").write_text("")
        with pytest.raises(RegistryError, match="connection reset") as caught:
            client(retries=retries).manifest(NAME)
        assert caught.value.cause is Cause.NETWORK
        assert len(calls(tmp_path)) == retries + 1


@pytest.mark.usefixtures("hurried")
def test_each_attempt_to_copy_starts_afresh(stand_in: StandIn, tmp_path: Path, work: Path) -> None:
    stand_in(failing(tmp_path, 2, "unexpected EOF") + "; touch $0.junk")
    afresh: list[int] = []
    (work / "image").mkdir()
    client(retries=2).copy(NAME, work, "image", "share", lambda: afresh.append(1))
    assert len(afresh) == 3


def test_a_throttle_holds_all_workers_of_one_registry_and_no_others() -> None:
    throttle = Throttle(Interruption())
    ended: dict[str, float] = {}

    def work(name: str, registry: str) -> None:
        throttle.wait(registry)
        ended[name] = time.monotonic()

    threads = [threading.Thread(target=work, args=(f"busy{n}", "busy.io")) for n in range(5)]
    threads += [threading.Thread(target=work, args=(f"other{n}", "other.io")) for n in range(5)]
    until = time.monotonic() + 0.4
    throttle.hold("busy.io", 0.4, Cause.RATE_LIMITED)
    throttle.hold("busy.io", 0.1, Cause.RATE_LIMITED)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert min(when for name, when in ended.items() if name.startswith("busy")) >= until
    assert max(when for name, when in ended.items() if name.startswith("other")) < until


@pytest.mark.usefixtures("hurried")
def test_too_many_requests_hold_the_others_too_even_after_the_last_try(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in('case "$*" in *busy*) echo "toomanyrequests" >&2; exit 1;; esac; echo ok')
    asked = client(retries=0)
    with pytest.raises(RegistryError) as caught:
        asked.manifest(reference.parse("r.io/busy"))
    assert caught.value.cause is Cause.RATE_LIMITED
    started = time.monotonic()
    asked.manifest(reference.parse("r.io/other"))
    assert time.monotonic() - started > 0.01, "4 pauses of at least half of MAX_PAUSE"


def test_an_interruption_ends_the_waiting() -> None:
    interruption = Interruption()
    throttle = Throttle(interruption)
    throttle.hold("r.io", 60, Cause.RATE_LIMITED)
    threading.Timer(0.05, interruption.request, [signal.SIGINT]).start()
    with pytest.raises(Interrupted):
        throttle.wait("r.io")


# How it ends


@pytest.mark.parametrize("what", ["manifest", "copy"])
def test_no_skopeo_outlives_us(what: str, silent: str) -> None:
    """Not even where nobody is left to stop it: ``kill -9``."""
    with spawn(f"{silent}/team/app", what, command=(sys.executable, "-c", PARENT)) as parent:
        mine = f"docker://{silent}/team/app"
        assert wait_until(lambda: bool(running(mine))), parent.stderr
        parent.signal(signal.SIGKILL)
        parent.wait()
        assert wait_until(lambda: not running(mine), 3)


def test_an_interruption_kills_it_within_a_second(silent: str, work: Path) -> None:
    interruption = Interruption()
    errors: list[BaseException] = []
    name = reference.parse(f"{silent}/team/app")

    def act() -> None:
        try:
            client(retries=3, interruption=interruption, tls_verify=False).manifest(name)
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=act) for _ in range(3)]
    for worker in workers:
        worker.start()
    assert wait_until(lambda: len(running(f"docker://{silent}")) == 3)
    interruption.request(signal.SIGTERM)
    limit = time.monotonic() + 1
    for worker in workers:
        worker.join(max(0.0, limit - time.monotonic()))
        assert not worker.is_alive()
    assert running(f"docker://{silent}") == []
    assert [str(error) for error in errors] == [str(Interrupted(signal.SIGTERM))] * 3


def test_what_it_started_is_killed_with_it(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in(f"sleep 61.5 & echo $! > {tmp_path}/helper; wait")
    interruption = Interruption()

    def act() -> None:
        with pytest.raises(Interrupted):
            client(interruption=interruption).manifest(NAME)

    worker = threading.Thread(target=act, daemon=True)
    worker.start()
    assert wait_until((tmp_path / "helper").exists)
    interruption.request(signal.SIGINT)
    worker.join(5)
    assert not worker.is_alive()
    assert wait_until(lambda: not running("sleep\00061.5"), 1)


def test_nothing_is_started_after_an_interruption(stand_in: StandIn, tmp_path: Path) -> None:
    interruption = Interruption()
    stand_in()
    asked = client(interruption=interruption)
    interruption.request(signal.SIGINT)
    with pytest.raises(Interrupted):
        asked.manifest(NAME)
    assert not (tmp_path / "calls").exists()


def test_one_that_says_nothing_is_given_up(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skopeo, "INSPECT_TIMEOUT", 0.2)
    monkeypatch.setattr(skopeo, "POLL", 0.05)
    with pytest.raises(RegistryError) as caught:
        client(tls_verify=False).manifest(reference.parse(f"{silent}/team/app"))
    assert caught.value.cause is Cause.STALLED
    assert running(f"docker://{silent}") == []
