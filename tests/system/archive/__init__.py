"""What GNU tar, gzip, zstd and the others make of our archives."""
