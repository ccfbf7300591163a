"""Tests of ``pipeline/steps``."""
