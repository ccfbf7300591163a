"""What a person sees. ``live`` is the only importer of rich, and is imported only where there is a terminal for it.

Log lines and progress go to standard error; plan and summary to standard output. No control character of a registry's
message or an image's name reaches the terminal.
"""

from pipeline.ui.terminal.log_lines import FORMATS, start_logging
from pipeline.ui.terminal.progress import MODES, restore_terminal, say_at_once, show_progress
from pipeline.ui.terminal.style import styled
from pipeline.ui.terminal.summary import (
    Failure,
    Summary,
    failures_of,
    how_to_go_on,
    plan_line,
    print_failures,
    print_lost,
    print_plan,
    print_problem,
    print_summary,
)
from pipeline.ui.terminal.text import harmless, kind_text, referrers_text, table

__all__ = [
    "FORMATS",
    "MODES",
    "Failure",
    "Summary",
    "failures_of",
    "harmless",
    "how_to_go_on",
    "kind_text",
    "plan_line",
    "print_failures",
    "print_lost",
    "print_plan",
    "print_problem",
    "print_summary",
    "referrers_text",
    "restore_terminal",
    "say_at_once",
    "show_progress",
    "start_logging",
    "styled",
    "table",
]
