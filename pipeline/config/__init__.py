"""Flags, definition files and digest locks become ``Bundle`` values, or a list of all that is wrong with them."""
