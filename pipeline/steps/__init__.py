"""The work of one task each; a module is named after the doit basename of its task. Knows no doit.

Takes values, a cache and a bundle's state; writes files. Guarantees: what a step has left behind is whole, or is not taken for
whole; running it again is cheap and right; each module has the check that tells whether its task is up to date.
"""
