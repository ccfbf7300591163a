"""A save: its three acts (``run``), the tasks of each, what it fetches and why, and what came of it."""
