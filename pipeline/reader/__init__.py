"""A finished bundle, wherever it lies: archive, volumes, folder or cache. Lists, verifies, serves and unpacks it."""
