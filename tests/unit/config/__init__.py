"""Tests of ``pipeline/config``."""
