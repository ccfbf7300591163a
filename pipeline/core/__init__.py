"""Values (OCI objects, references, bundles) and ground (errors, files, log, interruption). Imports no other package."""
