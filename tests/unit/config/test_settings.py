"""The one table of settings: its limits hold for flags, for keys of definitions and for editors alike."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from pipeline.config import schema
from pipeline.config.settings import SETTINGS, Setting
from pipeline.core.bundle import Compression
from pipeline.core.errors import UsageError

SCHEMA = schema.schema()
EDITOR = jsonschema.Draft7Validator({"definitions": SCHEMA["definitions"], **SCHEMA["properties"]["defaults"]})
"""What an editor marks in ``defaults``."""
LIMITED = [row for row in SETTINGS if row.minimum is not None or row.maximum is not None]


def takes(row: Setting, value: Any) -> bool:
    try:
        row.check(value)
    except UsageError as error:
        assert error.setting == row.setting
        return False
    return True


def editor_takes(row: Setting, value: Any) -> bool:
    return EDITOR.is_valid({row.setting: value})


def test_every_row_has_its_own_flag_and_key() -> None:
    assert len({row.name for row in SETTINGS}) == len({row.setting for row in SETTINGS}) == len(SETTINGS)


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.setting)
def test_a_default_is_a_value(row: Setting) -> None:
    assert takes(row, row.default) or row.default == 0
    assert row.parse(str(row.default)) == row.default


@pytest.mark.parametrize("row", LIMITED, ids=lambda row: row.setting)
def test_limits(row: Setting) -> None:
    limits = {row.minimum: True, row.maximum: True}
    if row.minimum is not None:
        limits[row.minimum - 1] = False
    if row.maximum is not None:
        limits[row.maximum + 1] = False
    for value, valid in limits.items():
        if value is not None:
            assert takes(row, value) == editor_takes(row, value) == valid, value


def test_the_limits_are_the_documented_ones() -> None:
    assert {row.setting: (row.minimum, row.maximum) for row in LIMITED} == {
        "jobs": (1, 20),
        "compress-level": (1, 19),
        "parity-blocks": (100, 30_000),
        "retry": (0, None),
    }


@pytest.mark.parametrize("row", [row for row in SETTINGS if row.choices], ids=lambda row: row.setting)
def test_choices(row: Setting) -> None:
    for text in row.choices:
        assert takes(row, text) and editor_takes(row, text)
    for text in ("", "other", row.choices[0].upper()):
        assert not takes(row, text) and not editor_takes(row, text)


def test_a_level_is_one_of_its_compression_for_editors_too() -> None:
    assert {each: each.highest_level for each in Compression} == {
        Compression.GZIP: 9,
        Compression.ZSTD: 19,
        Compression.DIR: 0,
    }
    for compression in Compression:
        for level in (1, 9, 10, 19):
            document = {"compress": compression.value, "compress-level": level}
            assert EDITOR.is_valid(document) == (level <= compression.highest_level), document
