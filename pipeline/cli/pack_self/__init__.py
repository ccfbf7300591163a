"""``image-tools pack-self``: this program, and all it needs, for a machine without a network."""
