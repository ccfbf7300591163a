"""A finished bundle, wherever it lies: archive, volumes, folder or cache. Lists, verifies, serves and unpacks it.

Takes a path, returns images and blobs, findings, or HTTP answers. Guarantees: nothing in a bundle is trusted, every size and
depth in it is bounded; a bundle is only read, never written.
"""
