"""The work of one task each; a module is named after the doit basename of its task. Knows no doit."""
