"""Tests of the archive format: what is written can be read, by us in place and by the tools that everybody has."""
