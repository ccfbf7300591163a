"""Typed values of the OCI image specification: digests, platforms, descriptors, manifests, indexes.

Takes bytes from a registry or a cache, of which nothing is trusted: sizes and depths are bounded, a digest has its one valid
form (it becomes a file name), and what does not parse raises ``ContentError``. Returns frozen values. Descriptors keep their
original JSON object, so that an index made from a subset repeats them verbatim.

    untrusted    JSON, bounded
    digest       Digest
    platform     Platform
    descriptor   Descriptor
    manifest     Manifest, Index, parse
    schema1      Docker schema 1
    walk         the one walk through indexes

Sources: OCI image-spec 1.1 ``descriptor.md``, ``manifest.md``, ``image-index.md``; Docker image manifest v2 schema 1 and 2.
"""

from __future__ import annotations

from pipeline.core.oci.descriptor import ATTESTATION_SUBJECT, ATTESTATION_TYPE, REF_NAME, Descriptor
from pipeline.core.oci.digest import Digest
from pipeline.core.oci.manifest import (
    DOCKER_CONFIG,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    IMAGE_CONFIG_TYPES,
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    ORAS_MANIFEST,
    Index,
    Manifest,
    parse,
    referrer_entry,
)
from pipeline.core.oci.platform import Platform
from pipeline.core.oci.schema1 import DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED, SCHEMA1_TYPES, Schema1
from pipeline.core.oci.untrusted import MAX_DESCRIPTORS, MAX_MANIFEST_SIZE, MAX_NESTING, load_json

__all__ = [
    "ATTESTATION_SUBJECT",
    "ATTESTATION_TYPE",
    "DOCKER_CONFIG",
    "DOCKER_LIST",
    "DOCKER_MANIFEST",
    "DOCKER_SCHEMA1",
    "DOCKER_SCHEMA1_SIGNED",
    "IMAGE_CONFIG_TYPES",
    "INDEX_TYPES",
    "MANIFEST_TYPES",
    "MAX_DESCRIPTORS",
    "MAX_MANIFEST_SIZE",
    "MAX_NESTING",
    "OCI_CONFIG",
    "OCI_INDEX",
    "OCI_MANIFEST",
    "ORAS_MANIFEST",
    "REF_NAME",
    "SCHEMA1_TYPES",
    "Descriptor",
    "Digest",
    "Index",
    "Manifest",
    "Platform",
    "Schema1",
    "load_json",
    "parse",
    "referrer_entry",
]
