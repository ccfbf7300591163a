"""Standard input, output and error of the process. Closed, broken or full, they never end a command in the middle of its work.

``guarded`` runs a command on streams that swallow what cannot be written. The exit code stays what the work came to; only of a
command whose product is what it prints, lost output is a failure. (Python itself would end with 120, or fail in any ``print``.)
"""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.core.errors import EXIT_COULD_NOT, EXIT_OK

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Swallowing(io.FileIO):
    """An open file descriptor to write to. The first error is kept in ``problem``; nothing is written from then on."""

    problem: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        if self.problem is None:
            try:
                while (written := super().write(data)) is None:
                    # Somebody has made it non-blocking for all who share it.
                    select.select([], [self], [])
                return written
            except OSError as error:
                self.problem = error
        return memoryview(data).nbytes


def guarded(command: Callable[[], int], *, is_output_the_product: bool) -> int:
    """Run ``command`` on the streams of this process. Its exit code, or 3 where what it made could not be written."""
    for number in range(3):
        _open_where_closed(number)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    output, _ = _guard("stdout", 1), _guard("stderr", 2)
    code = command()
    sys.stdout.flush()
    if output.problem is None:
        return code
    if not isinstance(output.problem, BrokenPipeError):  # who closes a pipe knows it, and wants no more
        print(f"image-tools: cannot write to standard output: {output.problem.strerror}", file=sys.stderr)
    return EXIT_COULD_NOT if code == EXIT_OK and is_output_the_product else code


def _open_where_closed(number: int) -> None:
    """A service may start us without the three. The next file that is opened, a lock or a blob, would be one of them."""
    try:
        os.fstat(number)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != number:
            os.dup2(null, number)
            os.close(null)


def _guard(name: str, number: int) -> _Swallowing:
    """Replace ``sys.stdout`` or ``sys.stderr`` by one alike that swallows. It is None where Python found it closed."""
    before = getattr(sys, name)
    raw = _Swallowing(number, "w", closefd=False)
    is_unbuffered = before is not None and before.write_through
    stream = io.TextIOWrapper(
        raw if is_unbuffered else io.BufferedWriter(raw),
        encoding=before.encoding if before else "utf-8",
        errors=before.errors if before else "backslashreplace",
        line_buffering=before is not None and before.line_buffering,
        write_through=is_unbuffered,
    )
    setattr(sys, name, stream)
    return raw
