"""Behaviour, with the real counterparts: skopeo, registries, GNU tar and the others."""
