"""Tests of ``pipeline/acts``."""
