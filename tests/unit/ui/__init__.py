"""Tests of ``pipeline/ui``."""
