"""Less to carry, from more machines: inventories, deltas, merge, diff, shards, with real registries and real skopeo."""
