"""The files for engines are what these engines take, and the commands in them are what this program takes."""

from __future__ import annotations

import json
import re
import shlex
from importlib.resources import files
from pathlib import Path
from typing import Any

import hera.workflows.models as argo
import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from pipeline.cli import go_flags
from pipeline.cli.catalogue import COMMANDS
from tests.support.run import ROOT

ENGINES = ROOT / "configs" / "engines"
COMMAND = re.compile(r"image-tools (save|merge|lock) ([^\n]*)")


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all((ENGINES / name).read_text()))


def problems(document: Any, schema: Any) -> list[str]:
    # YAML 1.1 reads the key 'on' as true.
    text = json.dumps({"on" if key is True else key: value for key, value in document.items()})
    validator = jsonschema.validators.validator_for(schema)
    return [error.message for error in validator(schema).iter_errors(json.loads(text))]


@pytest.mark.parametrize(("name", "schema"), [("github.yml", "github-workflows"), ("gitlab-ci.yml", "gitlab-ci")])
def test_files_of_ci(name: str, schema: str) -> None:
    found = json.loads((files("check_jsonschema") / "builtin_schemas" / "vendor" / f"{schema}.json").read_text())
    (document,) = documents(name)
    assert problems(document, found) == []
    assert problems({**document, "jobs" if "jobs" in document else "merge": 7}, found), "the schema says no, too"


def test_the_job_of_kubernetes() -> None:
    claim, job = documents("kubernetes-job.yaml")
    for document in (claim, job):
        kubernetes_validate.validate(document, "1.31", strict=True)
    job["spec"]["template"]["spec"]["containers"][0]["comand"] = ["sh"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, "1.31", strict=True)


def closed(schema: Any) -> Any:
    """The schema with nothing allowed that it does not name."""
    if isinstance(schema, dict):
        made = {key: closed(value) for key, value in schema.items()}
        return {**made, "additionalProperties": False} if "properties" in made else made
    return [closed(each) for each in schema] if isinstance(schema, list) else schema


def test_the_workflow_of_argo() -> None:
    (document,) = documents("argo-workflow.yaml")
    schema = closed(argo.Workflow.model_json_schema(by_alias=True))
    assert problems(document, schema) == []
    document["spec"]["templates"][1]["retryStrategie"] = {}
    assert problems(document, schema)


@pytest.mark.parametrize("path", sorted(ENGINES.iterdir()), ids=lambda path: path.name)
def test_commands_are_this_program_s(path: Path) -> None:
    flags = {command.words: command.body.flags for command in COMMANDS if command.words in ("save", "merge", "lock")}
    text = path.read_text()
    if path.suffix in (".yml", ".yaml"):
        text = "\n".join(_texts(list(yaml.safe_load_all(text)))) + "\n".join(re.findall("^# .*", text, re.MULTILINE))
    found = COMMAND.findall(text.replace("\\\n", " "))
    assert found
    for words, rest in found:
        arguments = shlex.split(rest.split("')")[0])
        go_flags.parse(flags[words], [each for each in arguments if not each.startswith("${IMAGE_TOOLS_FLAGS")], words)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    return [text for each in value for text in _texts(each)] if isinstance(value, list) else []


def test_all_divide_by_three() -> None:
    """What stands twice in a file is the same number."""
    (workflow,) = documents("github.yml")
    assert workflow["env"]["PARTS"] == len(workflow["jobs"]["part"]["strategy"]["matrix"]["part"])
    (pipeline,) = documents("gitlab-ci.yml")
    assert int(pipeline["variables"]["PARTS"]) == pipeline["part"]["parallel"]
    job = documents("kubernetes-job.yaml")[1]["spec"]
    assert int(job["template"]["spec"]["containers"][0]["env"][0]["value"]) == job["completions"]
    batch = (ENGINES / "slurm.sbatch").read_text()
    assert re.search(r"--array=1-(\d+)", batch)[1] == re.search(r"^PARTS=(\d+)", batch, re.MULTILINE)[1]  # type: ignore[index]
    (argo_workflow,) = documents("argo-workflow.yaml")
    first, second, *_ = argo_workflow["spec"]["templates"]
    assert first["steps"][0][0]["withSequence"]["count"] == second["container"]["env"][0]["value"]
