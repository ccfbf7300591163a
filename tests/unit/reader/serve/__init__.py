"""Tests of ``pipeline/reader/serve``."""
