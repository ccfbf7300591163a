"""Bundle definitions, the lock, ``image-tools bundle``, and doit as a way in."""
