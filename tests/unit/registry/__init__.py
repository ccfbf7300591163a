"""Tests of ``pipeline/registry``."""
