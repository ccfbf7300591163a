"""helm itself, where it is: what its templates name is found.

helm is in no package list; Go's module proxy has it. A run without it says so, with the command that adds it.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from pipeline.config.inputs import Certainty, Options, read

HELM = shutil.which("helm") or shutil.which("helm", path=str(Path(sys.executable).parent))
ADD = "GOBIN=$PWD/.venv/bin go install helm.sh/helm/v3/cmd/helm@v3.16.4"
TEMPLATE = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  template:
    spec:
      containers:
      - image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
      {{- if .Values.sidecar }}
      - image: {{ .Values.sidecar }}
      {{- end }}
"""


@pytest.mark.skipif(HELM is None, reason=f"helm is not installed; add it with: {ADD}")
def test_charts_are_rendered_by_helm(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert HELM is not None
    monkeypatch.setenv("PATH", str(Path(HELM).parent), prepend=":")
    (work / "chart" / "templates").mkdir(parents=True)
    (work / "chart" / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 0.1.0\nappVersion: '1.27'\n")
    (work / "chart" / "values.yaml").write_text("image: {repository: quay.io/team/web, tag: ''}\n")
    (work / "chart" / "templates" / "web.yaml").write_text(TEMPLATE)
    (work / "mine.yaml").write_text("sidecar: quay.io/team/side:2\n")
    plain = read(work / "chart", "chart")
    assert [each.text for each in plain.images(Certainty.SURE)] == ["quay.io/team/web:1.27"]
    assert not plain.unknown
    chosen = read(work / "chart", "chart", Options(values=(work / "mine.yaml",)))
    assert [each.text for each in chosen.images(Certainty.SURE)] == ["quay.io/team/web:1.27", "quay.io/team/side:2"]
    assert chosen.findings[0].place.startswith("chart (helm template):")
