"""``save``: flags become bundles, each is saved, and the result is told."""
