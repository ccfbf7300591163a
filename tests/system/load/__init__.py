"""The other side of the gap: ``load``, ``ls``, ``verify`` and ``serve``, with real registries and real skopeo."""
