"""What needs no server, no skopeo and no root. One folder per package of ``pipeline``."""
