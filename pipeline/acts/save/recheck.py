"""``-verify``: the finished files are known by their bytes, hashed again, and not by size and time alone.

Takes the record of what was packed (``packed.json``), returns whether the files still match it, and writes nothing but the
record. Guarantees: a file is read once a run at the most, and not where the run packs it anew; two are read at a time; a stop
is answered within a chunk; each damaged file is named in a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.acts.progress import Tracker
from pipeline.core import files
from pipeline.core.amounts import bytes_text
from pipeline.core.bundle import Bundle
from pipeline.core.interruption import Interruption
from pipeline.core.log import log
from pipeline.core.oci import Digest
from pipeline.core.parallel import in_parallel
from pipeline.storage.bundle_state import BundleState
from pipeline.storage.records.packed import Packed, read_packed

READERS = 2


@dataclass(frozen=True)
class _Part:
    """A file of the result, as it was written: the archive, a volume, or a file in a folder."""

    path: Path
    size: int
    mtime_ns: int
    digest: Digest

    @property
    def is_as_recorded(self) -> bool:
        status = self.path.stat()
        return (status.st_size, status.st_mtime_ns) == (self.size, self.mtime_ns)


class Recheck:
    """Of one bundle, in one run. Both methods raise Interrupted."""

    def __init__(self, state: BundleState, bundle: Bundle, interruption: Interruption, tracker: Tracker) -> None:
        self._state = state
        self._bundle = bundle
        self._interruption = interruption
        self._tracker = tracker
        self._problems: dict[Path, str] = {}
        self.size = 0
        """Bytes of the result, once it was found intact."""

    def accept_times(self) -> None:
        """Call before packing. Files whose time alone has changed are recorded with it, so that they are known again.

        A file that is missing makes the bundle be packed anyway: then none is read.
        """
        packed = self._record()
        if packed is None:
            return
        try:
            # Before a byte is read: what is written in the meantime has a later time, and is seen by the next run.
            now = self._with_times_of_now(packed)
            changed = [part for part in self._parts(packed) if not part.is_as_recorded]
        except OSError:
            return
        if now != packed and self._are_intact(changed):
            files.write_atomic(self._state.packed, files.dump_sealed(now.to_json()))

    def is_intact(self) -> bool:
        """Call when act 3 has left the result as it was. A result that is damaged is no longer recorded: it is packed anew."""
        packed = self._record()
        parts = list(self._parts(packed)) if packed else []
        if not self._are_intact(parts):
            self._state.packed.unlink(missing_ok=True)
            return False
        self.size = sum(part.size for part in parts)
        if parts:
            what = "verified %s: all of its %s are as they were written"
            log.info(what, self._bundle.output.destination, bytes_text(self.size), extra={"bytes": self.size})
        return True

    def _record(self) -> Packed | None:
        """None also where what it names waits for its place: what lies there is older."""
        packed = read_packed(self._state.packed)
        return None if packed is None or any(file.is_waiting for file in packed.files) else packed

    def _parts(self, packed: Packed) -> Iterator[_Part]:
        for file in packed.files:
            if file.sha256:  # a folder has none
                yield _Part(Path(file.name), file.size, file.mtime_ns, Digest("sha256", file.sha256))
        for name, (size, mtime_ns, digest) in packed.contents.items():
            yield _Part(self._bundle.output.destination / name, size, mtime_ns, Digest.parse(digest))

    def _with_times_of_now(self, packed: Packed) -> Packed:
        """Raises OSError. The size of a folder is that of its own entry, which is as little its content as its time is."""
        made = []
        for file in packed.files:
            status = Path(file.name).stat()
            made.append(replace(file, size=file.size if file.sha256 else status.st_size, mtime_ns=status.st_mtime_ns))
        place = self._bundle.output.destination
        contents = {
            name: (size, (place / name).stat().st_mtime_ns, digest) for name, (size, _, digest) in packed.contents.items()
        }
        return Packed(tuple(made), contents)

    def _are_intact(self, parts: Sequence[_Part]) -> bool:
        unread = [part for part in parts if part.path not in self._problems]
        if unread:
            self._tracker.begin("verifying", 0, sum(part.size for part in unread), "verify")
            problems = in_parallel(self._problem, unread, READERS)
            self._tracker.end()
            for part, problem in zip(unread, problems, strict=True):
                self._problems[part.path] = problem
                if problem:
                    log.warning("%s is damaged: %s", part.path, problem)
        return not any(self._problems[part.path] for part in parts)

    def _problem(self, part: _Part) -> str:
        """What is wrong with a file; empty where nothing is. One that cannot be read is as good as damaged."""
        try:
            size = part.path.stat().st_size
            if size != part.size:
                return f"it has {size:,} bytes, but was written with {part.size:,}"
            with part.path.open("rb") as file:
                found, _ = files.hash_file(file, part.digest.algorithm, self._interruption.check, self._tracker.add)
        except OSError as error:
            return f"it cannot be read: {error.strerror}"
        return "" if found == part.digest.hex else "its bytes are not those that were written"
