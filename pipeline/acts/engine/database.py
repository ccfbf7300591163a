"""doit's database of what tasks achieved: on the disk the moment a task ends, and never the reason that a run fails."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from doit.dependency import Dependency, JSONCodec, SqliteDB
from doit.task import Task

from pipeline.core.log import log

UNRECORDED = ("fetch:",)
"""How the names of tasks begin that stand in no database: they exist only while what they make is missing."""

# What SQLite says of a full or read-only disk; Python 3.10 does not tell its error codes.
_DISK = re.compile(r"disk is full|readonly database|disk I/O error|unable to open")


class Memo(Dependency):  # type: ignore[misc]
    """'doit ignore' is between a user and doit: here, everything that was asked for is done."""

    def status_is_ignore(self, task: Task) -> bool:
        return False


class DurableDB(SqliteDB):  # type: ignore[misc]
    """doit's SQLite database, except that a task's entry is on disk when its task ends, and that damage is survived."""

    desc = "SQLite, saved after each task"

    def __init__(self, name: str, codec: Any, *, module_name: str | None = None) -> None:
        sound = _is_sound(name)
        if sound is None:  # nothing is wrong with it but where it lies; what this run does is not remembered
            name = ":memory:"
        elif not sound:
            for suffix in ("", "-wal", "-shm", "-journal"):
                with contextlib.suppress(OSError):
                    Path(name + suffix).unlink(missing_ok=True)
            if not _is_sound(name):  # on a file system without locks, say: nothing is remembered after the run
                name = ":memory:"
        super().__init__(name, _CheckedJSON(), module_name=module_name)

    def _sqlite3(self, name: str) -> sqlite3.Connection:
        connection: sqlite3.Connection = super()._sqlite3(name)
        connection.execute("pragma journal_mode=wal")
        # Survives the end of the process at any moment. A power loss may take the last entries, which costs a check.
        connection.execute("pragma synchronous=normal")
        return connection

    def _get_task_data(self, task_id: str) -> Mapping[str, Any]:
        try:
            data: Mapping[str, Any] = super()._get_task_data(task_id)
        except (ValueError, sqlite3.Error):
            return {}
        return data

    def set(self, task_id: str, dependency: str, value: object) -> None:
        if task_id.startswith(UNRECORDED):
            return
        super().set(task_id, dependency, value)
        if dependency == "deps:":  # Dependency.save_success sets this one last
            with self._tolerant():
                self._conn.execute(
                    "insert or replace into doit values (?,?)", (task_id, self.codec.encode(self._cache[task_id]))
                )
                self._conn.commit()
                self._dirty.discard(task_id)

    def remove(self, task_id: str) -> None:
        with self._tolerant():
            super().remove(task_id)
            self._conn.commit()

    def dump(self) -> None:
        with contextlib.closing(self._conn), self._tolerant():
            super().dump()

    @contextlib.contextmanager
    def _tolerant(self) -> Iterator[None]:
        """A full disk stops the tasks with a message of its own; that they are not remembered either stops nothing."""
        try:
            yield
        except sqlite3.Error as error:
            log.debug("%s: what was done is not remembered: %s", self.name, error)


class _CheckedJSON(JSONCodec):  # type: ignore[misc]
    """JSON after its checksum: what SQLite does not notice, a flipped bit in a text, would stop doit in its tracks."""

    def encode(self, data: Any) -> str:
        text: str = super().encode(data)
        return f"{zlib.crc32(text.encode()):08x}{text}"

    def decode(self, data: str) -> Any:
        if int(data[:8], 16) != zlib.crc32(data[8:].encode()):
            raise ValueError("the checksum does not match")
        return super().decode(data[8:])


def _is_sound(name: str) -> bool | None:
    """Whether ``name`` is a database of ours, or a new one, undamaged. None when the disk does not let us tell or write."""
    try:
        with contextlib.closing(sqlite3.connect(name, isolation_level=None)) as connection:
            # As doit creates it, so that ours is the one that a new file has.
            connection.execute("create table if not exists doit (task_id text not null primary key, task_data json)")
            connection.execute("pragma journal_mode=wal")
            connection.execute("begin immediate")
            columns = [(row[1], row[2].lower()) for row in connection.execute("pragma table_info(doit)")]
            damage = connection.execute("pragma integrity_check").fetchall()
            for (text,) in connection.execute("select task_data from doit"):
                _CheckedJSON().decode(str(text))
            return columns == [("task_id", "text"), ("task_data", "json")] and damage == [("ok",)]
    except (sqlite3.Error, OSError, ValueError) as error:
        return None if isinstance(error, sqlite3.OperationalError) and _DISK.search(str(error)) else False
