"""A load: its acts (``run``) and their tasks."""
