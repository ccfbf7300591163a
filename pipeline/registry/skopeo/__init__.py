"""The edge to skopeo: running it, and what its messages mean."""
