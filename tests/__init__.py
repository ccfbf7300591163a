"""The tests of image-tools: real skopeo against real registries, in a clean environment."""
