"""Everything that lies on the disk: the cache, its records, the archive format."""
