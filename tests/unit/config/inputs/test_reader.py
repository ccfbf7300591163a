"""Formats are told apart by content; broken, huge and hostile files are one error."""

from __future__ import annotations

import io
import json
import os
import tarfile
import textwrap
import time
from pathlib import Path

import pytest

from pipeline.config.inputs import Certainty, Options, Reading, read, read_bytes
from pipeline.core.errors import InputError


def reading(text: str, **options: str) -> Reading:
    return read_bytes(textwrap.dedent(text).encode(), "FILE", Options(**options))  # type: ignore[arg-type]


def found(text: str, certainty: Certainty = Certainty.SURE) -> list[str]:
    return [each.text for each in reading(text).images(certainty)]


def unknown(text: str) -> dict[str, str]:
    return {each.text: each.note for each in reading(text).unknown}


POD = """
    apiVersion: v1
    kind: Pod
    metadata: {name: web}
    spec:
      initContainers:
      - image: busybox
      containers:
      - image: nginx:1.27
        args: ["--proxy-image", "envoyproxy/envoy:v1.31", "--log=debug", "daemon", "--port", "8000"]
        env:
        - {name: SIDE_IMAGE, value: "redis:7"}
        - {name: MODE, value: "redis:7"}
      volumes:
      - name: models
        image: {reference: quay.io/models/small:v1}
"""


def test_a_list_is_a_list() -> None:
    got = reading("# k3s\ndocker.io/rancher/klipper-helm:v0.9\nnginx\n// more\nredis:7\n")
    assert (got.format, [each.text for each in got.findings]) == (
        "image list",
        ["docker.io/rancher/klipper-helm:v0.9", "nginx", "redis:7"],
    )


def test_lists_may_have_columns() -> None:
    text = "nginx 1.27\nredis latest\nrancher/agent mirror.example.com/rancher/agent v2.9\n"
    assert found(text) == ["nginx:1.27", "redis:latest", "rancher/agent:v2.9"]
    destinations = [each.to_line().destination for each in reading(text).findings]
    assert destinations == ["", "", "mirror.example.com/rancher/agent"]
    for wrong in ("nginx redis", "nginx:1 2", "a b c d1"):
        with pytest.raises(InputError, match="one image a line"):
            reading(wrong)
    with pytest.raises(InputError, match="leave out 'docker://': write 'nginx:1'"):
        reading("docker://nginx:1")


def test_containers_are_sure_and_flags_probable() -> None:
    assert found(POD) == ["busybox", "nginx:1.27", "quay.io/models/small:v1"]
    assert found(POD, Certainty.PROBABLE) == ["envoyproxy/envoy:v1.31", "redis:7"], "not 8000, not daemon, not MODE"
    place = reading(POD).images(Certainty.SURE)[1].place
    assert place == "FILE:9 (Pod/web spec.containers[0].image)"


@pytest.mark.parametrize(
    ("text", "sure"),
    [
        (
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  spec: {containers: [{image: a/b:1}]}\n",
            ["a/b:1"],
        ),
        ('{"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"image": "nginx:1"}]}}', ["nginx:1"]),
        (
            "apiVersion: x/v1\nkind: Operand\nspec:\n  image: {registry: quay.io, repository: a/b, tag: v1}\n",
            ["quay.io/a/b:v1"],
        ),
        ("apiVersion: x/v1\nkind: Operand\nspec: {image: quay.io/a/b, tag: v2}\n", ["quay.io/a/b:v2"]),
        ("apiVersion: x/v1\nkind: Git\nspec: {repository: 'https://x.y/z', tag: v2}\n", []),
        (
            "apiVersion: v1\nkind: OCIRepository\nspec: {url: 'oci://ghcr.io/a/manifests', ref: {tag: v1}}\n",
            ["ghcr.io/a/manifests:v1"],
        ),
        (
            "apiVersion: operators.coreos.com/v1alpha1\nkind: ClusterServiceVersion\n"
            "spec:\n  relatedImages:\n  - {name: op, image: 'quay.io/o/p:v1'}\n",
            ["quay.io/o/p:v1"],
        ),
        ("apiVersion: argoproj.io/v1\nkind: Workflow\nspec:\n  templates:\n  - container: {image: alpine}\n", ["alpine"]),
    ],
)
def test_objects_of_kubernetes(text: str, sure: list[str]) -> None:
    assert found(text) == sure


def test_schemas_and_their_examples_are_no_images() -> None:
    text = "apiVersion: v1\nkind: CustomResourceDefinition\nspec: {image: a/b:1}\n---\n" + textwrap.dedent(POD)
    assert found(text) == ["busybox", "nginx:1.27", "quay.io/models/small:v1"]


def test_files_in_config_maps_are_probable() -> None:
    text = """
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: c}
        data:
          pod.yaml: |
            containers:
            - image: "quay.io/x/side:v1"
              url: https://quay.io/x/y:v1
          other: see example.com/docs:latest. Or not
    """
    assert found(text, Certainty.PROBABLE) == ["quay.io/x/side:v1", "example.com/docs:latest"]
    assert [each.line for each in reading(text).images(Certainty.PROBABLE)] == [8, 10]


def test_a_repository_without_a_tag_is_named() -> None:
    text = "apiVersion: x/v1\nkind: Operand\nspec: {image: {repository: quay.io/a/b}}\n"
    assert unknown(text) == {"quay.io/a/b": "has neither a tag nor a digest here"}


def test_a_bare_word_is_named() -> None:
    assert "no container" in unknown("apiVersion: x/v1\nkind: Icon\nspec: {image: logo}\n")["logo"].replace("where ", "")


def test_compose_is_interpolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("TAG=7.2\nQUOTED='a$b' # no\nNAME=web\n")
    (tmp_path / "c.yaml").write_text(
        textwrap.dedent("""
            x-base: &base
              image: "base:${TAG}"
            services:
              a: {image: "redis:${TAG:-6}"}
              b: {image: "nginx:${UNSET:-1.27}"}
              c: {image: "$NAME:$TAG"}
              d: {image: "x/y:${UNSET}"}
              e: {build: .}
              f: {build: ., image: local/f}
              g: {<<: *base}
              h: {build: {context: ., args: {BASE_IMAGE: "debian:12"}}}
        """)
    )
    monkeypatch.setenv("TAG", "7.4")
    got = read(tmp_path / "c.yaml", "c.yaml")
    assert [each.text for each in got.images(Certainty.SURE)] == ["redis:7.4", "nginx:1.27", "web:7.4", "base:7.4"]
    assert [each.text for each in got.images(Certainty.PROBABLE)] == ["local/f", "debian:12"]
    assert {each.text: each.note for each in got.unknown} == {
        "x/y:${UNSET}": "UNSET is set neither here nor in .env",
        "e": "is built from source here: push what is built, and list it",
        "h": "is built from source here: push what is built, and list it",
    }


def test_zarf_follows_imports_and_flavors(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "zarf.yaml").write_text(
        "kind: ZarfPackageConfig\ncomponents:\n- {name: db, images: [postgres:16]}\n- {name: other, images: [never:1]}\n"
    )
    (tmp_path / "zarf.yaml").write_text(
        textwrap.dedent("""
            kind: ZarfPackageConfig
            components:
            - {name: db, import: {path: base}}
            - {name: web, only: {flavor: upstream}, images: [nginx:1]}
            - {name: web, only: {flavor: hardened}, images: [hard/nginx:1]}
            - {name: signed, images: ["a/b:sha256-0.sig", "a/b:1"], charts: [{name: c}]}
            - {name: far, import: {url: "oci://x/y"}}
        """)
    )
    got = read(tmp_path / "zarf.yaml", "zarf.yaml", Options(flavor="hardened"))
    assert [each.text for each in got.images(Certainty.SURE)] == ["postgres:16", "hard/nginx:1", "a/b:1"]
    assert [each.text for each in got.unknown] == ["web", "a/b:sha256-0.sig", "c", "oci://x/y"]


def test_zarf_imports_that_go_round_end(tmp_path: Path) -> None:
    (tmp_path / "zarf.yaml").write_text(
        "kind: ZarfPackageConfig\ncomponents:\n- {name: a, images: [x/y:1], import: {path: .}}\n"
    )
    assert [each.text for each in read(tmp_path / "zarf.yaml", "z").images(Certainty.SURE)] == ["x/y:1"]


def make_chart(folder: Path) -> Path:
    (folder / "charts" / "sub").mkdir(parents=True)
    notes = "- name: web\n  image: quay.io/a/web:1\n"
    (folder / "Chart.yaml").write_text(
        "apiVersion: v2\nname: c\nappVersion: '9'\nannotations:\n  artifacthub.io/images: |\n" + textwrap.indent(notes, "    ")
    )
    (folder / "values.yaml").write_text("image:\n  repository: quay.io/a/api\n  tag: ''\n")
    (folder / "charts" / "sub" / "Chart.yaml").write_text("apiVersion: v2\nname: sub\nappVersion: '3'\n")
    (folder / "charts" / "sub" / "values.yaml").write_text("proxy: {image: {registry: quay.io, repository: a/p}}\n")
    return folder


def test_a_chart_without_helm_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    chart = make_chart(tmp_path / "c")
    with tarfile.open(tmp_path / "c.tgz", "w:gz") as archive:
        archive.add(chart, "c")
    for path in (chart, tmp_path / "c.tgz"):
        got = read(path, path.name)
        assert [each.text for each in got.images(Certainty.SURE)] == ["quay.io/a/web:1"]
        assert [each.text for each in got.images(Certainty.PROBABLE)] == ["quay.io/a/api:9", "quay.io/a/p:3"]
        assert "helm is not installed" in got.unknown[0].note


def test_a_chart_is_rendered_where_helm_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    helm = tmp_path / "bin" / "helm"
    helm.write_text('#!/bin/sh\necho "$@" > "$0.called"\nprintf "%s" "$RENDERED"\n')
    helm.chmod(0o755)
    values = tmp_path / "mine.yaml"
    values.write_text("a: 1\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("RENDERED", textwrap.dedent(POD))
    got = read(make_chart(tmp_path / "c"), "c", Options(values=(values,)))
    assert [each.text for each in got.images(Certainty.SURE)] == [
        *("quay.io/a/web:1", "busybox", "nginx:1.27", "quay.io/models/small:v1"),
    ]
    assert (tmp_path / "bin" / "helm.called").read_text().split() == [
        *("template", "release-name", str(tmp_path / "c"), "--values", str(values)),
    ]


def test_kustomizations_are_built_where_a_program_is(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (work / "k").mkdir()
    (work / "k" / "kustomization.yaml").write_text("resources: [web.yaml]\n")
    (work / "bin").mkdir()
    monkeypatch.setenv("PATH", str(work / "nothing"))
    with pytest.raises(InputError, match="neither kustomize nor kubectl is installed"):
        read(work / "k", "k")
    monkeypatch.setenv("PATH", f"{work / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setenv("RENDERED", textwrap.dedent(POD))
    for program, arguments in (("kubectl", ["kustomize", "k"]), ("kustomize", ["build", "k"])):
        file = work / "bin" / program
        file.write_text('#!/bin/sh\necho "$@" > "$0.called"\nprintf "%s" "$RENDERED"\n')
        file.chmod(0o755)
        got = read(Path("k"), "k")
        assert (got.format, len(got.images(Certainty.SURE))) == ("kustomization", 3)
        assert (work / "bin" / f"{program}.called").read_text().split() == arguments
    (work / "bin" / "kustomize").write_text("#!/bin/sh\necho no such resource >&2\nexit 1\n")
    with pytest.raises(InputError, match="kustomize failed: no such resource"):
        read(work / "k", "k")


def test_a_packed_chart_stays_in_its_folder(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(work / "nothing"))
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, text in (("c/Chart.yaml", "name: c\n"), ("../out", "x"), ("/abs", "x"), ("c/../../up", "x")):
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    (work / "c.tgz").write_bytes(data.getvalue())
    read(work / "c.tgz", "c.tgz")
    assert sorted(path.name for path in work.iterdir()) == ["c.tgz"]


def test_other_tools() -> None:
    assert found("apiVersion: v0\nkind: ImagesLock\nimages:\n- {name: a, image: 'x/y:1', digests: []}\n") == ["x/y:1"]
    sync = (
        "r.example.com:\n  images:\n    redis: ['1', 'sha256:" + "0" * 64 + "']\n    all: []\n  images-by-semver: {b: '>1'}\n"
    )
    assert found(sync) == ["r.example.com/redis:1", "r.example.com/redis@sha256:" + "0" * 64]
    assert list(unknown(sync)) == ["r.example.com/all", "r.example.com/b"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\nversion: 1\n", "none of the files that images are read from"),
        ("bundles: {a: {images: [nginx]}}\n", "given with -config"),
        ("apiVersion: v1\nkind: Pod\nspec: [a\n", "not valid YAML"),
        ("a: *nothing\n", "nothing above is called &nothing"),
        ("# Title\n\nSome words\nmore of them\nand more\n\nBut no\nimage at\nall of\nit is\n", "none of the files"),
    ],
)
def test_what_is_none_of_these_says_what_was_tried(text: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        read_bytes(text.encode(), "FILE")
    assert said in str(error.value)
    assert str(error.value).startswith("FILE")


HEAD = "apiVersion: v1\nkind: X\n"
HOSTILE = {
    "huge": HEAD + "a:\n" + "- quay.io/a/b:1\n" * 700_000,
    "huge list of documents": "---\na: 1\n" * 100_000,
    "deep flow": HEAD + "a: " + "[" * 100_000,
    "deep block": HEAD + "".join(" " * depth + "a:\n" for depth in range(1000)),
    "control characters": HEAD + "a: \x00\n",
    "endless merges": "services:\n  s0: &s0 {image: n}\n"
    + "".join(f"  s{i}: &s{i}\n    k{i}: 1\n    <<: [*s{i - 1}]\n" for i in range(1, 3000)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_one_error_within_two_seconds(name: str) -> None:
    data = HOSTILE[name].encode()
    started = time.process_time()
    with pytest.raises(InputError) as error:
        read_bytes(data, "FILE")
    assert time.process_time() - started < 2
    assert len(error.value.problems) == 1


def test_aliases_and_tags_are_harmless(work: Path) -> None:
    laughs = HEAD + "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
    own = HEAD + "a: &a\n  b: *a\n  <<: *a\n"
    runs = HEAD + f"a: !!python/object/apply:os.system ['touch {work}/owned']\n"
    started = time.process_time()
    for text in (laughs, own, runs):
        assert read_bytes(text.encode(), "FILE").findings == ()
    assert time.process_time() - started < 2
    assert not list(work.iterdir())


def test_findings_are_json() -> None:
    document = json.loads(json.dumps([each.to_json() for each in reading(POD).findings]))
    assert document[0]["file"] == "FILE" and {each["certainty"] for each in document} == {"sure", "probable"}
