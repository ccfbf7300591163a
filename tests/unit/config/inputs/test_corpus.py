"""Real files, with answers made by hand: what is found, and what is wrong among the sure."""

from __future__ import annotations

from tests.support.input_corpus import answers, published, reading_of, score


def test_the_corpus_is_large_enough() -> None:
    assert len(answers()) >= 30
    assert {each["half"] for each in answers().values()} == {"first", "later", "last"}


def test_what_stands_in_the_files_is_found() -> None:
    for half in ("first", "later", "last"):
        found = score(half)
        assert found.recall >= 0.99, found.missed
        assert found.wrong_among_sure <= 0.01, found.wrong


def test_published_lists_are_found_as_far_as_files_name_them() -> None:
    missing = {name: absent for name, _, absent in published()}
    assert missing["longhorn.yaml"] == ["docker.io/longhornio/longhorn-cli:master-head"]
    assert len(missing["rook-operator.yaml"]) == 3


def test_every_finding_knows_its_line() -> None:
    for name in answers():
        for finding in reading_of(name).findings:
            assert finding.line >= 1 and finding.origin


def test_what_is_filled_in_elsewhere_is_named() -> None:
    notes = [each.note for each in reading_of("zarf-gitea.yaml").unknown]
    assert "###ZARF_PKG_TMPL_GITEA_IMAGE### is filled in elsewhere" in notes
