"""Tests of ``pipeline/reader``."""
