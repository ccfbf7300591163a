"""Commands about carrying less: inventories, merges, differences."""
