"""Small JSON files in the cache's state, written by one run and read by the next."""
