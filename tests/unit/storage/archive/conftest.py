"""One archive of each format, made once; tests that damage one make a copy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.storage.archive import Codec
from tests.unit.storage.archive.cases import Case, typical


@dataclass(frozen=True)
class Sample:
    """A case and the archive that was made of it."""

    case: Case
    path: Path
    codec: Codec

    @property
    def data(self) -> bytes:
        return self.path.read_bytes()


@pytest.fixture(scope="session", params=list(Codec), ids=lambda codec: str(codec.value))
def sample(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    codec: Codec = request.param
    folder = tmp_path_factory.mktemp("sample")
    case = typical(folder / "source")
    [path] = case.write(folder / f"saved-images.tar.{codec.value}", codec)
    return Sample(case, path, codec)
