"""What every command is: words, flags, what it runs, examples. One way to read its arguments, show its help, and call it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path

from pipeline.cli import go_flags
from pipeline.cli.go_flags import Given, HelpWanted
from pipeline.config.flag import Flag, in_flags
from pipeline.core.errors import EXIT_OK, UsageError
from pipeline.core.log import log

EXIT_CODES = (
    ("0", "all images were saved or loaded; all is intact"),
    ("1", "some failed; the bundle holds the rest, or the earlier one was kept"),
    ("2", "bad usage or bad input; nothing was done"),
    ("3", "it could not: no skopeo or too old, the cache is in use, the disk is full, no image was saved"),
    ("130, 143", "interrupted by Ctrl-C or SIGTERM; what was fetched is kept"),
)
HELP = ("-h", "--h", "-help", "--help")


@dataclass(frozen=True, kw_only=True)
class Body:
    """The heavy part of a command, in its own module."""

    run: Callable[[Given, tuple[str, ...]], int]
    """Takes flags and operands, returns the exit code. Raises ImageToolsError."""
    flags: tuple[Flag, ...] = ()
    about: str = ""
    """What its help says below the flags."""
    examples: tuple[str, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)
    """Names of flags by the heading that its help shows them under; empty where they need none."""
    tells_exit_codes: bool = False
    """Whether its help ends with what its exit codes mean."""
    takes_files: bool = False
    """Whether its operands are files."""
    takes_words: bool = False
    """Whether its operands are neither files nor one of a few words."""
    choices: tuple[str, ...] = ()
    """The operands that it takes, where they are a few words."""
    no_operands: str = ""
    """What to do instead of an operand, where it takes none."""


@dataclass(frozen=True)
class Command:
    """``words`` call it; ``usage`` follows them. ``place`` (``module:NAME``) is where its body is, looked up when needed."""

    words: str
    usage: str
    summary: str
    place: str
    also: tuple[str, ...] = ()
    """What other programs, and people, call it."""

    @cached_property
    def body(self) -> Body:
        module, _, name = self.place.partition(":")
        found: Body = getattr(import_module(f".{module}", __package__), name)
        return found

    @property
    def flags(self) -> tuple[Flag, ...]:
        return tuple(sorted(self.body.flags, key=lambda flag: flag.name))

    @property
    def examples(self) -> tuple[str, ...]:
        """Each on one line."""
        return tuple(re.sub(r"\\\n\s*", "", example) for example in self.body.examples)

    @property
    def call_line(self) -> str:
        return f"image-tools {self.words} {self.usage}".rstrip()

    def help(self) -> str:
        flags = self.flags
        head = (
            go_flags.usage(self.words, flags, self.body.groups) if flags else f"Usage:\n  {self.call_line}    {self.summary}\n"
        )
        about = f"\n{self.body.about.strip()}\n" if self.body.about else ""
        lines = (f"  {code:<10}{what}\n" for code, what in EXIT_CODES)
        codes = f"\nExit codes:\n{''.join(lines)}" if self.body.tells_exit_codes else ""
        return head + about + examples_text(self.body.examples) + codes

    def call(self, arguments: Sequence[str]) -> int:
        """Run it. Its exit code. Raises ImageToolsError; a UsageError speaks of flags."""
        try:
            read = go_flags.parse(self.body.flags, arguments, self.words)
        except HelpWanted:
            print(self.help(), end="")
            return EXIT_OK
        except UsageError as error:
            raise in_flags(error, self.body.flags) from error
        self._start_logging(read.given)
        for name in read.replaced:
            log.warning("-%s is given more than once; the last one counts: %s", name, read.given.values[name])
        if read.operands and not (self.body.takes_files or self.body.takes_words or self.body.choices):
            instead = f"{self.body.no_operands}, see" if self.body.no_operands else "see"
            raise UsageError(f"unexpected argument '{read.operands[0]}'", tip=f"{instead} 'image-tools {self.words} -h'")
        try:
            return self.body.run(read.given, read.operands)
        except UsageError as error:
            raise in_flags(error, self.body.flags) from error

    def _start_logging(self, given: Given) -> None:
        names = {flag.name for flag in self.body.flags}
        if not names:
            return  # it logs nothing, and is quick
        from pipeline.ui.terminal import start_logging

        is_debug = "debug" in names and given.switch("debug")
        file = Path(given.text("log-file")).absolute() if "log-file" in names and given.text("log-file") else None
        is_quiet = "quiet" in names and given.switch("quiet")
        start_logging(is_debug, given.text("log-format") if "log-format" in names else "text", file=file, quiet=is_quiet)


def examples_text(examples: Sequence[str]) -> str:
    return "\nExamples:\n" + "".join(f"  {example}\n" for example in examples) if examples else ""
