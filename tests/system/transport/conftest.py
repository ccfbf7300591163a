"""The same working directory in memory as the save tests have."""

from tests.system.save.conftest import other_registry, work

__all__ = ["other_registry", "work"]
