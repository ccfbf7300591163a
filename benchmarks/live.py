"""What the live rows cost: 2,000 images with two platforms each, 20 copies in flight, on terminals of 80 and 200 columns.

    .venv/bin/python benchmarks/live.py

Prints the CPU time of the rows as a share of one core. Files of the copies in flight grow meanwhile, as skopeo's do.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import sys
import tempfile
import termios
import threading
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline.acts.engine import Status, TaskResult
from pipeline.acts.progress import Tracker
from pipeline.core.oci import Descriptor, Digest
from pipeline.registry.skopeo.client import bytes_below
from pipeline.storage.cache import Cache

IMAGES, FLIGHTS, LAYERS, SECONDS = 2000, 20, 8, 10.0
SIZE = 50_000_000


def main() -> None:
    for columns, lines in ((80, 24), (200, 60)):
        share = measure(columns, lines)
        print(f"{columns}x{lines}: {100 * share:.2f} % of a core")


def measure(columns: int, lines: int) -> float:
    """CPU seconds a second while the rows are shown, less what the same process takes without them."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    threading.Thread(target=drain, args=(controller,), daemon=True).start()
    os.environ.update(TERM="xterm-256color", COLUMNS=str(columns), LINES=str(lines))
    before = os.dup(2)
    os.dup2(terminal, 2)
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            tracker = busy(Path(folder), stack)
            idle = cpu(1.0)
            from pipeline.ui.terminal import show_progress

            with show_progress("rich", tracker.snapshot):
                cpu(1.0)  # rich is loaded by now
                return cpu(SECONDS) - idle
    finally:
        os.dup2(before, 2)
        os.close(terminal)


def busy(folder: Path, stack: contextlib.ExitStack) -> Tracker:
    cache = Cache(folder / "cache")
    (cache.share / "sha256").mkdir(parents=True)
    tracker = Tracker(cache.has)
    tracker.begin("copying", IMAGES * 2, IMAGES * LAYERS * SIZE, "copy")
    for number in range(IMAGES - FLIGHTS):
        tracker.finished(f"copy:{number}", TaskResult(Status.UP_TO_DATE if number % 3 else Status.DONE))
    for number in range(FLIGHTS):
        missing = [Descriptor("layer", Digest.of(f"{number} {layer}".encode()), SIZE) for layer in range(LAYERS)]
        growing = folder / f"flight{number}"
        growing.mkdir()
        for part in range(3):
            (growing / f"oci-put-blob{part}").write_bytes(b"x" * 1000 * number)
        label = f"registry.example.com/team-{number}/a-component-with-a-name:v1.{number}.0 linux/amd64"
        stack.enter_context(tracker.transfer(label, missing, partial(bytes_below, growing)))
    return tracker


def cpu(seconds: float) -> float:
    before, start = time.process_time(), time.monotonic()
    time.sleep(seconds)
    return (time.process_time() - before) / (time.monotonic() - start)


def drain(controller: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(controller, 65536):
            pass


if __name__ == "__main__":
    main()
