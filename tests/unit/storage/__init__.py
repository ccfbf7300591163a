"""Tests of ``pipeline/storage``."""
