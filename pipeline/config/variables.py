"""The environment variables of a definition: ``${NAME}`` is replaced where ``environment`` declares NAME, and nowhere else."""

from __future__ import annotations

import os
import re

import yaml

from pipeline.config.yaml_document import Document, nearest, shown

NAME = r"[A-Za-z_][A-Za-z0-9_]*"
"""Of a variable."""
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_BARE_VARIABLE = re.compile(rf"\$({NAME})")


class Variables:
    """The variables that a document declares, and their values. What is wrong goes to the document's problems."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._values: dict[str, str] = {}

    def declare(self, node: yaml.Node) -> None:
        """Read the mapping at ``environment``."""
        for name, entry in self._document.mapping(node, None).items():
            default = self._document.scalar(entry.value)
            if not re.fullmatch(NAME, name):
                self._document.problem(entry.key, f"{shown(name)} cannot be the name of an environment variable")
            elif default is None:
                self._values[name] = os.environ.get(name, "")
                if not self._values[name]:
                    problem = f"the environment variable {name} is not set, and has no default here"
                    self._document.problem(entry.key, problem)
            else:
                self._values[name] = os.environ.get(name, self._document.text(entry.value, may_be_empty=True) or "")

    def expand(self, text: str, node: yaml.Node) -> str | None:
        """``text`` with the variables in it; None, and a problem, where one is not declared."""
        unknown = [name for name in _VARIABLE.findall(text) if name not in self._values]
        for name in unknown:
            hint = nearest(name, self._values) if self._values else "declare it under 'environment:'"
            self._document.problem(node, f"${{{name}}} is not declared under 'environment:': {hint}")
        bare = [name for name in _BARE_VARIABLE.findall(text) if name in self._values]
        for name in bare:
            self._document.problem(node, f"${name} stays as it is; write ${{{name}}} for the environment variable")
        return None if unknown or bare else _VARIABLE.sub(lambda match: self._values[match[1]], text)


def are_in(text: str) -> bool:
    return _VARIABLE.search(text) is not None
