"""Signatures, attestations and SBOMs: saved with what they refer to, loaded, listed, verified, served.

Nothing of cosign is run: ``support/signatures.py`` makes what it makes. Registries are Debian's ``docker-registry``, which has
no referrers API, ``image-tools serve``, which has it, and a small one of our own for what neither does (pages, tokens).
"""
