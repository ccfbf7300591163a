"""The bundles of ``configs/`` as doit tasks: ``doit list``, ``doit -n 4 -P thread``, ``doit run pack:<bundle>``."""

from pipeline.dodo import bundle_tasks

globals().update(bundle_tasks("configs/*.yaml"))
