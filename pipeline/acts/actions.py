"""What doit calls: work of ours as a task's action, with its errors kept, told and remembered.

doit drops exceptions, and knows nothing of a disk that is full for all tasks at once; so each piece of work is wrapped here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from pipeline.acts.engine import failed, put_off
from pipeline.core import disk
from pipeline.core.errors import EnvironmentProblem, ImageToolsError, Interrupted
from pipeline.core.log import about, log
from pipeline.registry.throttle import RegistryPaused

_NO_ARGUMENTS = inspect.Signature()


class Actions:
    """The errors of one run. ``fatal`` ends it: what has not begun is not tried any more."""

    def __init__(self) -> None:
        self.before_each: Callable[[], None] = lambda: None
        self.when_paused: Callable[[], None] = lambda: None
        """Called before a task is put off: a moment's rest, for when there is nothing else to do."""
        self.errors: dict[str, ImageToolsError] = {}
        self.fatal: EnvironmentProblem | None = None

    def act(
        self, task: str, work: Callable[[], object], m_id: int = 0, img_id: int = 0, text: str = "", called: str = ""
    ) -> Callable[[], Any]:
        """What doit calls. It gets a message, as it drops exceptions; we keep the exception.

        ``called`` is what messages call the work; the name of its task without it.
        """

        def act() -> Any:
            if self.fatal is not None:
                return failed("not tried: " + self.fatal.message.partition("\n")[0])
            with about(m_id, img_id, task, text):
                try:
                    self.before_each()
                    work()
                    return None
                except RegistryPaused:
                    self.when_paused()
                    return put_off()
                except Interrupted as error:
                    return self._fail(task, error)
                except EnvironmentProblem as error:
                    # It ends the run: who runs the tasks says so, once, not every worker.
                    return self._fail(task, error)
                except ImageToolsError as error:
                    name = called or task.partition(":")[2]
                    log.error("%s", error if error.message.startswith(name) else f"{name}: {error}")
                    return self._fail(task, error)
                except OSError as error:
                    return self._fail(task, disk.problem(error))

        act.__signature__ = _NO_ARGUMENTS  # type: ignore[attr-defined]  # or doit finds out, before each task
        return act

    def _fail(self, task: str, error: ImageToolsError) -> Any:
        self.errors[task] = error
        if isinstance(error, EnvironmentProblem):
            self.fatal = self.fatal or error
        return failed(str(error))
