"""``image-tools save`` as a user has it: through the command line, against a real registry, with real skopeo."""
