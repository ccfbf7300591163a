"""The JSON Schema of a bundle definition, for editors: made from the tables that ``definition`` reads with.

It knows keys, types and values; references, paths and what fits together are for ``image-tools bundle check`` to say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipeline.config.keys import IMAGE_KEYS, KEYS, LISTS, NAME, VARIABLE_NAME
from pipeline.config.settings import Setting
from pipeline.core import bundle
from pipeline.core.bundle import Compression

FILE = "bundle.schema.json"
"""Its name beside the definitions, which say in their first line: ``# yaml-language-server: $schema=bundle.schema.json``."""

_TEXT = {"type": "string", "minLength": 1}
_VARIABLE = {"type": "string", "pattern": rf"\$\{{{VARIABLE_NAME}\}}"}
_LIMITS: Mapping[str, Mapping[str, int]] = {
    "jobs": {"minimum": 1, "maximum": bundle.MAX_JOBS},
    "compress-level": {"minimum": 1, "maximum": 19},
    "retry": {"minimum": 0},
}
_EXAMPLES: Mapping[str, list[Any]] = {
    "arch": ["amd64", ["amd64", "arm64"], "all"],
    "os": ["linux", ["linux", "windows"]],
    "source": ["registry.example.com", "registry.example.com:5000/mirror"],
    "destination": ["../dist/bundle.tar.gz"],
    "part-size": ["2G", "3900M"],
}


def schema() -> dict[str, Any]:
    """Draft 7, which every editor reads."""
    shared = {key: _setting(setting) for key, setting in KEYS.items()}
    own = {key: {"$ref": f"#/definitions/{key}"} for key in shared}
    of_image = {key: own[key] for key in IMAGE_KEYS}
    entry = {
        "anyOf": [
            {**_TEXT, "description": "an image, e.g. rancher/rancher:v2.7.0"},
            _object({"image": _TEXT, **of_image}, ("image",), "an image with its own platforms or source"),
            _object({"list": _TEXT, **of_image}, ("list",), "a file with one image a line"),
        ]
    }
    images = {"type": "array", "minItems": 1, "items": entry, "description": "what the bundle holds, in this order"}
    described = {**_TEXT, "description": "what it is, for people"}
    one = _object({"description": described, "images": images, **own}, ("images",), "one bundle")
    variable = {"type": ["string", "null"], "description": "the default; null (nothing) where the variable must be set"}
    environment = _named(VARIABLE_NAME, variable, "the environment variables that ${NAME} may name")
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "image-tools bundle definition",
        **_object(
            {
                "environment": environment,
                "defaults": _object(own, (), "what all bundles of this file share"),
                "bundles": {**_named(NAME, one, "the bundles by name"), "minProperties": 1},
            },
            ("bundles",),
            "bundles of container images, for image-tools save -config",
        ),
        "definitions": shared,
    }


def text() -> str:
    """As it is kept in a file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _object(properties: Mapping[str, Any], required: tuple[str, ...], description: str) -> dict[str, Any]:
    made = {
        "type": "object",
        "description": description,
        "additionalProperties": False,
        # Merge keys: editors check the text as it stands, before '<<' is merged.
        "properties": {**properties, "<<": {}},
    }
    return {**made, "required": list(required)} if required else made


def _named(name: str, value: Mapping[str, Any], description: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "additionalProperties": False,
        "patternProperties": {f"^{name}$": dict(value)},
    }


def _setting(setting: Setting) -> dict[str, Any]:
    made: dict[str, Any] = {"description": setting.help}
    if setting.key in _EXAMPLES:
        made["examples"] = _EXAMPLES[setting.key]
    if setting.default not in ("", 0):
        made["default"] = setting.default
    return {**made, **_type(setting)}


def _type(setting: Setting) -> dict[str, Any]:
    key, default = setting.key, setting.default
    if key in LISTS:
        # 386 is an architecture, too.
        word: dict[str, Any] = {"type": ["string", "integer"] if key == "arch" else "string"}
        return {"anyOf": [word, {"type": "array", "minItems": 1, "items": word}]}
    if key == "part-size":
        size = {"type": "string", "pattern": "^[0-9]+[KMGTkmgt]?$"}
        return {"anyOf": [{"type": "integer", "minimum": 1}, size, _VARIABLE]}
    if key == "compress":
        return {"anyOf": [{"enum": [compression.value for compression in Compression]}, _VARIABLE]}
    if isinstance(default, bool):
        return {"anyOf": [{"type": "boolean"}, _VARIABLE]}
    if isinstance(default, int):
        return {"anyOf": [{"type": "integer", **_LIMITS.get(key, {})}, _VARIABLE]}
    return {"type": "string"} if not default else dict(_TEXT)
