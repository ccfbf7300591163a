"""Save, load and prune as runs of doit: the task graphs, what the tasks of a run share, and what comes of it.

Takes bundles and an interruption; returns results; prints nothing. Guarantees: a failed image leaves the later acts and
stops nothing else; what was fetched stays, however a run ends.
"""
