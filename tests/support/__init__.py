"""What the tests stand on: tools, registries, images, the fault proxy, and running the command line."""
