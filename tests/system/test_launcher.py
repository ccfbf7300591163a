"""The launcher and its set-up, with stand-ins for Python, pip and the package managers: nothing is really installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UTILITIES = ("sh", "env", "cat", "cksum", "cp", "dirname", "find", "id", "mkdir", "readlink", "rm", "sleep", "uname")
"""What a set-up may use of the system; the tests' PATH holds nothing else."""

PYTHON = """#!/bin/sh
# Stands for python3, and, copied, for .venv/bin/python.
echo "$*" >>"$LOG"
case "$*" in
--version) echo "Python ${VERSION:-3.11.7}" ;;
*version_info*) [ -z "${VERSION-}" ] ;;
*ensurepip*) [ -z "${NO_ENSUREPIP-}" ] || [ -e "$PACKAGES/python3-venv" ] ;;
"-m venv"*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
*"-m pip install"*)
    sleep "${PIP_TAKES:-0}"
    if [ -n "${PIP_FAILS-}" ]; then echo "pip: no network" >&2; exit 1; fi
    ;;
*)
    echo "in $PWD as $IMAGE_TOOLS_COMMAND:$(shift; for each; do printf ' <%s>' "$each"; done)"
    [ "${2-}" != cat ] || cat
    exit "${EXIT:-0}"
    ;;
esac
"""

APT_GET = """#!/bin/sh
# Stands for apt-get: knows its packages only after an update.
echo "apt-get $*" >>"$LOG"
case "$*" in
*update*) touch "$PACKAGES/lists" ;;
*install*)
    [ -e "$PACKAGES/lists" ] || { echo "E: Unable to locate package" >&2; exit 100; }
    [ -z "${APT_FAILS-}" ] || { echo "E: disk full" >&2; exit 100; }
    case "$*" in *skopeo*) cp /bin/sh "$PACKAGES/skopeo" ;; esac
    case "$*" in *python3-venv*) touch "$PACKAGES/python3-venv" ;; esac
    ;;
esac
"""


@dataclass
class Checkout:
    """A checkout of its own, and a system that has what the test put into it."""

    folder: Path
    system: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        return self.system / "log"

    @property
    def venv(self) -> Path:
        return self.folder / ".venv"

    def stand_in(self, name: str, script: str) -> None:
        path = self.system / "bin" / name
        path.unlink(missing_ok=True)
        path.write_text(script)
        path.chmod(0o755)

    def take_away(self, *names: str) -> None:
        for name in names:
            (self.system / "bin" / name).unlink()

    def variables(self, more: Mapping[str, str]) -> dict[str, str]:
        packages = self.system / "packages"
        fixed = {"PATH": f"{self.system / 'bin'}:{packages}", "LOG": str(self.log), "PACKAGES": str(packages)}
        return {**os.environ, **fixed, **self.environment, **more}

    def start(
        self, *arguments: str, program: str | Path = "", cwd: Path | None = None, text: str = "", **more: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program or self.folder / "image-tools", *arguments],
            env=self.variables(more),
            cwd=cwd or self.folder,
            input=text,
            capture_output=True,
            text=True,
            timeout=30,
        )

    def steps(self) -> list[str]:
        """What ran since the last call, in short."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        words = {"-m venv": "venv", "-m pip install": "pip", "apt-get": "apt-get"}
        return [step for line in lines for word, step in words.items() if word in line]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    folder, system = tmp_path / "a checkout", tmp_path / "system"
    (folder / "scripts").mkdir(parents=True)
    for name in ("image-tools", "scripts/setup.sh", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    (system / "bin").mkdir(parents=True)
    (system / "packages").mkdir()
    for name in (*UTILITIES, "touch", "flock"):
        (system / "bin" / name).symlink_to(str(shutil.which(name)))
    made = Checkout(folder, system)
    made.stand_in("python3", PYTHON)
    return made


def test_first_start_sets_up_and_the_next_one_does_not(checkout: Checkout) -> None:
    first = checkout.start("version", "two words")
    assert first.returncode == 0
    assert first.stdout == f"in {checkout.folder} as {checkout.folder}/image-tools: <version> <two words>\n"
    assert [line.partition(" /")[0] for line in first.stderr.splitlines()] == [
        "image-tools: making",
        "image-tools: installing what pyproject.toml asks for into",
    ]
    assert checkout.steps() == ["venv", "pip"]

    second = checkout.start("version", "two words")
    assert (second.stdout, second.stderr, checkout.steps()) == (first.stdout, "", [])


def test_later_starts_cost_two_small_processes(checkout: Checkout) -> None:
    checkout.start("version")
    checkout.take_away(*(name for name in UTILITIES if name not in ("sh", "readlink", "cksum")))
    assert checkout.start("version").returncode == 0


def test_any_working_directory_and_through_links(checkout: Checkout, tmp_path: Path) -> None:
    checkout.start("version")
    absolute, relative = tmp_path / "absolute", tmp_path / "links" / "relative"
    absolute.symlink_to(checkout.folder / "image-tools")
    relative.parent.mkdir()
    relative.symlink_to("../absolute")
    for program in (absolute, relative, "../links/relative", "../a checkout/image-tools"):
        cwd = tmp_path / "work"
        done = checkout.start("x", program=program, cwd=cwd)
        assert done.stdout == f"in {cwd} as {program}: <x>\n"
    by_path = checkout.start("x", program="relative", PATH=f"{relative.parent}:{checkout.system / 'bin'}")
    assert by_path.stdout == f"in {checkout.folder} as {relative}: <x>\n"
    by_shell = checkout.start("image-tools", "x", program="sh")
    assert by_shell.stdout == f"in {checkout.folder} as image-tools: <x>\n"


def test_exit_code_and_standard_input_are_the_commands(checkout: Checkout) -> None:
    """Also when it has to be set up first: the list that is piped in is not the installer's."""
    for _ in range(2):
        done = checkout.start("cat", text="an image list\n", EXIT="130")
        assert (done.returncode, done.stdout.splitlines()[1:]) == (130, ["an image list"])


def test_changed_project_is_installed_again(checkout: Checkout) -> None:
    checkout.start("version")
    checkout.steps()
    with (checkout.folder / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    assert checkout.start("version").returncode == 0
    assert checkout.steps() == ["pip"]


def test_moved_checkout_is_set_up_anew(checkout: Checkout, tmp_path: Path) -> None:
    checkout.start("version")
    checkout.steps()
    (checkout.venv / "old").touch()
    checkout.folder = checkout.folder.rename(tmp_path / "moved")
    assert checkout.start("version").returncode == 0
    assert checkout.steps() == ["venv", "pip"]
    assert not (checkout.venv / "old").exists()


def test_failed_set_up_shows_why_and_is_begun_anew(checkout: Checkout) -> None:
    failed = checkout.start("version", PIP_FAILS="1")
    assert (failed.returncode, failed.stdout) == (3, "")
    assert "pip: no network" in failed.stderr
    assert checkout.steps() == ["venv", "pip"]
    assert checkout.start("version").returncode == 0
    assert checkout.steps() == ["venv", "pip"]
    assert checkout.start("version").stderr == ""


def test_half_made_folder_is_made_anew(checkout: Checkout) -> None:
    (checkout.venv / "bin").mkdir(parents=True)
    (checkout.venv / "bin" / "python").symlink_to("/nowhere/python3")
    assert checkout.start("version").returncode == 0
    assert checkout.steps() == ["venv", "pip"]


@pytest.mark.parametrize("has_flock", [True, False])
def test_first_starts_at_the_same_time(checkout: Checkout, has_flock: bool) -> None:
    if not has_flock:
        checkout.take_away("flock")
    variables = checkout.variables({"PIP_TAKES": "0.5"})
    command = [str(checkout.folder / "image-tools"), "version"]
    running = [
        subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    errors = [process.communicate(timeout=30)[1] for process in running]
    assert [process.returncode for process in running] == [0] * 3
    assert sum("making" in each for each in errors) == 1
    assert sum("another start is setting up" in each for each in errors) == 2
    assert checkout.steps() == ["venv", "pip"]


def test_lock_of_a_killed_start_is_broken(checkout: Checkout) -> None:
    checkout.take_away("flock")
    held = checkout.venv / ".lock.d"
    held.mkdir(parents=True)
    gone = subprocess.Popen(["true"])
    gone.wait()
    (held / "holder").write_text(f"{gone.pid}\n")
    assert checkout.start("version").returncode == 0
    assert not held.exists()


def test_killed_set_up_is_begun_anew(checkout: Checkout) -> None:
    process = subprocess.Popen(
        [checkout.folder / "image-tools", "version"],
        env=checkout.variables({"PIP_TAKES": "30"}),
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 10
    while "-m pip" not in (checkout.log.read_text() if checkout.log.exists() else "") and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, 9)
    process.wait(10)
    checkout.steps()
    assert checkout.start("version").returncode == 0
    assert checkout.steps() == ["venv", "pip"]


def test_no_python(checkout: Checkout) -> None:
    checkout.take_away("python3")
    done = checkout.start("version")
    assert done.returncode == 3
    assert "Python 3.10 or newer is needed, and no python3 is here; please type:" in done.stderr


def test_old_python(checkout: Checkout) -> None:
    done = checkout.start("version", VERSION="3.9.2")
    assert (done.returncode, "needed, and Python 3.9.2 is here" in done.stderr) == (3, True)


# Programs of the system


@pytest.mark.parametrize(
    "arguments", [["version"], ["-h"], ["save", "-h"], ["demo", "--help"], ["verify", "x"], ["ls", "x"], []]
)
def test_skopeo_is_not_asked_for_where_it_is_not_used(checkout: Checkout, arguments: list[str]) -> None:
    assert checkout.start(*arguments).returncode == 0


@pytest.mark.parametrize(
    "stand_ins, command",
    [
        ({"uname": "echo Darwin"}, "brew install skopeo"),
        ({"uname": "echo Darwin", "apt-get": ""}, "brew install skopeo"),
        ({"dnf": "", "id": "echo 1000"}, "sudo dnf install skopeo"),
        ({"zypper": "", "id": "echo 0"}, "zypper install skopeo"),
        ({"pacman": "", "id": "echo 1000"}, "sudo pacman -S skopeo"),
        ({"apk": "", "id": "echo 0"}, "apk add skopeo"),
        ({"apt-get": "", "id": "echo 1000"}, "as root, please type:  apt-get install skopeo"),
    ],
)
def test_the_command_to_type_elsewhere(checkout: Checkout, stand_ins: dict[str, str], command: str) -> None:
    for name, script in stand_ins.items():
        checkout.stand_in(name, f"#!/bin/sh\n{script}\n")
    for arguments in (["save", "-f", "x"], ["demo"], ["load"]):
        done = checkout.start(*arguments)
        assert (done.returncode, done.stdout) == (3, "")
        assert command in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("user, sudo", [("0", ""), ("1000", "sudo ")])
def test_skopeo_is_installed(checkout: Checkout, user: str, sudo: str) -> None:
    checkout.stand_in("id", f"#!/bin/sh\necho {user}\n")
    checkout.stand_in("apt-get", APT_GET)
    if sudo:
        checkout.stand_in("sudo", '#!/bin/sh\necho "sudo apt-get by $2" >>"$LOG"\nexec "$@"\n')
    done = checkout.start("save", "-f", "x")
    assert (done.returncode, done.stdout.endswith(": <save> <-f> <x>\n")) == (0, True)
    assert "image-tools: installing skopeo with apt-get\n" in done.stderr
    calls = [line for line in checkout.log.read_text().splitlines() if line.startswith("apt-get ")]
    assert [("update" in call, "skopeo ca-certificates" in call) for call in calls] == [
        (False, True),
        (True, False),
        (False, True),
    ]
    assert all("--no-install-recommends" in call for call in calls)
    assert bool(sudo) == ("sudo apt-get" in checkout.log.read_text())
    checkout.log.unlink()
    assert checkout.start("save").stderr == ""


def test_apt_get_fails(checkout: Checkout) -> None:
    checkout.stand_in("apt-get", APT_GET)
    checkout.stand_in("id", "#!/bin/sh\necho 0\n")
    done = checkout.start("demo", APT_FAILS="1")
    assert done.returncode == 3
    assert "E: disk full" in done.stderr
    assert done.stderr.endswith("please type:  apt-get install skopeo\n")


def test_missing_venv_module_is_installed(checkout: Checkout) -> None:
    checkout.stand_in("apt-get", APT_GET)
    checkout.stand_in("id", "#!/bin/sh\necho 0\n")
    done = checkout.start("version", NO_ENSUREPIP="1")
    assert done.returncode == 0
    assert "image-tools: installing python3-venv with apt-get" in done.stderr


# The files themselves


@pytest.mark.parametrize("name", ["image-tools", "scripts/setup.sh", "tests/run", ".ci/run"])
def test_scripts_are_valid(name: str) -> None:
    subprocess.run(["sh", "-n", ROOT / name], check=True)
    assert name == "scripts/setup.sh" or os.access(ROOT / name, os.X_OK)
