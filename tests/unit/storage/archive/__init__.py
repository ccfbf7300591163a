"""Tests of ``pipeline/storage/archive``."""
