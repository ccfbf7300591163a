"""Commands about lists and other files that name images: what is in them, is it there, from registry to registry."""
