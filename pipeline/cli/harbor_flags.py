"""Flags of the commands that know Harbor, whose images must be in a project."""

from __future__ import annotations

from pipeline.cli.go_flags import Given
from pipeline.config.flag import Flag
from pipeline.core import reference
from pipeline.core.errors import InputError, UsageError

DEFAULT_PROJECT = "library"
PROJECT = Flag("default-project", DEFAULT_PROJECT, "Harbor project of images that have none")


def default_project(given: Given) -> str:
    """The Harbor project of images that have none; empty where the registry is no Harbor. Raises UsageError."""
    if not given.text("repo-type"):
        return ""
    project = given.text("default-project")
    try:
        reference.parse(f"localhost/{project}/image")
    except InputError as error:
        raise UsageError(f"{project!a} is not a name of a project: {error}", setting="default-project") from error
    return project
