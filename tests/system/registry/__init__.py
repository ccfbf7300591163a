"""The registry session against real registries."""
