"""Tests of ``pipeline/cli``."""
