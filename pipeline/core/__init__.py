"""Values and ground: OCI objects, references, bundles; errors, files, locks, log, interruption, programs that are run.

Takes bytes and text, returns frozen values; raises the errors of ``core.errors``. Imports no other package of ours. Guarantees:
a value that was made is valid; a file is written whole or not at all; no child process outlives the run.
"""
