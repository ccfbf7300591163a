"""The JSON Schema of a bundle definition, for editors: made from the tables that ``definition`` reads with.

It knows keys, types and limits; references, paths and what fits together are for ``image-tools bundle check`` to say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipeline.config import variables
from pipeline.config.definition import NAME
from pipeline.config.settings import IMAGE_KEYS, KEYS, Setting
from pipeline.core.bundle import Compression

FILE = "bundle.schema.json"
"""Its name beside the definitions, which say in their first line: ``# yaml-language-server: $schema=bundle.schema.json``."""

_TEXT = {"type": "string", "minLength": 1}
_RANGE = {**_TEXT, "description": "instead of one tag, those in this range of versions, e.g. >=1.25 <1.28"}
_PATHS = {"anyOf": [_TEXT, {"type": "array", "minItems": 1, "items": _TEXT}], "description": "values files of the chart"}
_VARIABLE = {"type": "string", "pattern": rf"\$\{{{variables.NAME}\}}"}


def schema() -> dict[str, Any]:
    """Draft 7, which every editor reads."""
    shared = {key: _setting(setting) for key, setting in KEYS.items()}
    own = {key: {"$ref": f"#/definitions/{key}"} for key in shared}
    of_image = {key: own[key] for key in IMAGE_KEYS}
    entry = {
        "anyOf": [
            {**_TEXT, "description": "an image, e.g. rancher/rancher:v2.7.0"},
            _object({"image": _TEXT, "tags": _RANGE, **of_image}, ("image",), "an image with its own platforms or source"),
            _object({"list": _TEXT, "flavor": _TEXT, **of_image}, ("list",), "a file that names images, in any format"),
            _object({"chart": _TEXT, "values": _PATHS, **of_image}, ("chart",), "a Helm chart, a folder or packed"),
        ]
    }
    images = {"type": "array", "minItems": 1, "items": entry, "description": "what the bundle holds, in this order"}
    described = {**_TEXT, "description": "what it is, for people"}
    one = {**_object({"description": described, "images": images, **own}, ("images",), "one bundle"), **_levels()}
    variable = {"type": ["string", "null"], "description": "the default; null (nothing) where the variable must be set"}
    environment = _named(variables.NAME, variable, "the environment variables that ${NAME} may name")
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "image-tools bundle definition",
        **_object(
            {
                "environment": environment,
                "defaults": {**_object(own, (), "what all bundles of this file share"), **_levels()},
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


def _levels() -> dict[str, Any]:
    """Where a mapping names the compression, its levels are those of that compression."""
    return {
        "allOf": [
            {
                "if": {"properties": {"compress": {"const": compression.value}}, "required": ["compress"]},
                "then": {"properties": {"compress-level": {"maximum": compression.highest_level}}},
            }
            for compression in Compression
        ]
    }


def _setting(setting: Setting) -> dict[str, Any]:
    made: dict[str, Any] = {"description": setting.help}
    if setting.examples:
        made["examples"] = list(setting.examples)
    if setting.default not in ("", 0):
        made["default"] = setting.default
    return {**made, **_type(setting)}


def _type(setting: Setting) -> dict[str, Any]:
    if setting.is_list:
        word: dict[str, Any] = {"type": ["string", "integer"] if setting.may_be_number else "string"}
        return {"anyOf": [word, {"type": "array", "minItems": 1, "items": word}]}
    choices = [{"enum": list(setting.choices)}] if setting.choices else []
    if isinstance(setting.default, bool):
        return {"anyOf": [{"type": "boolean"}, *choices, _VARIABLE]}
    if isinstance(setting.default, int):
        limits = {"minimum": setting.minimum, "maximum": setting.maximum}
        number = {"type": "integer", **{name: limit for name, limit in limits.items() if limit is not None}}
        return {"anyOf": [number, *choices, _VARIABLE]}
    if choices:
        return {"anyOf": [*choices, _VARIABLE]}
    if setting.may_be_number:
        text = {"type": "string", "pattern": setting.pattern}
        return {"anyOf": [{"type": "integer", "minimum": 1}, text, _VARIABLE]}
    return {"type": "string"} if not setting.default else dict(_TEXT)
