"""What skopeo says when things go wrong, made by ``collect_messages.py``: do not edit.

``cause`` is the name of a ``pipeline.errors.Cause``, or ``CONTENT`` (bytes that do not match their digest),
``PLATFORM`` (none that was asked for) or ``DISK``. The exit code was 1 each time.
"""

# ruff: noqa: E501

from __future__ import annotations

from typing import NamedTuple


class Message(NamedTuple):
    """The whole standard error of one failed run."""

    cause: str
    situation: str
    text: str


VERSION = "1.9.3"

MESSAGES = (
    Message(
        "NOT_FOUND",
        "inspect: tag unknown",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:nope\\": reading manifest nope in 127.0.0.1:5000/team/app: manifest unknown: manifest unknown"\n',
    ),
    Message(
        "NOT_FOUND",
        "copy: tag unknown",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app:nope: reading manifest nope in 127.0.0.1:5000/team/app: manifest unknown: manifest unknown"\n',
    ),
    Message(
        "NOT_FOUND",
        "inspect: repository unknown",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/none:v1\\": reading manifest v1 in 127.0.0.1:5000/team/none: manifest unknown: manifest unknown"\n',
    ),
    Message(
        "NOT_FOUND",
        "copy: repository unknown",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/none:v1: reading manifest v1 in 127.0.0.1:5000/team/none: manifest unknown: manifest unknown"\n',
    ),
    Message(
        "NOT_FOUND",
        "inspect: digest unknown",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app@sha256:0000000000000000000000000000000000000000000000000000000000000000\\": reading manifest sha256:0000000000000000000000000000000000000000000000000000000000000000 in 127.0.0.1:5000/team/app: manifest unknown: manifest unknown"\n',
    ),
    Message(
        "NOT_FOUND",
        "copy: digest unknown",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app@sha256:0000000000000000000000000000000000000000000000000000000000000000: reading manifest sha256:0000000000000000000000000000000000000000000000000000000000000000 in 127.0.0.1:5000/team/app: manifest unknown: manifest unknown"\n',
    ),
    Message(
        "NOT_FOUND",
        "copy: layer gone",
        'time="2026-01-01T00:00:00Z" level=fatal msg="reading blob sha256:57ebf60494f39d8e439bafac2b54ec91ac5d917d467ab10010e82cfb7f87e52b: Error fetching blob: invalid status code from registry 404 (Not Found)"\n',
    ),
    Message(
        "NOT_FOUND",
        "copy: config gone",
        'time="2026-01-01T00:00:00Z" level=fatal msg="reading config blob sha256:b3366189e516e4459938b259291e1fd1685c25684a62da2029f0ce12b1d899d1: Error fetching blob: invalid status code from registry 404 (Not Found)"\n',
    ),
    Message(
        "NOT_FOUND",
        "inspect --config: config gone",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error reading configuration blob: Error fetching blob: invalid status code from registry 404 (Not Found)"\n',
    ),
    Message(
        "UNAUTHORIZED",
        "inspect: no login",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": reading manifest v1 in 127.0.0.1:5000/team/app: unauthorized: authentication required"\n',
    ),
    Message(
        "UNAUTHORIZED",
        "copy: no login",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app:v1: reading manifest v1 in 127.0.0.1:5000/team/app: unauthorized: authentication required"\n',
    ),
    Message(
        "UNKNOWN",
        "inspect: unreadable authfile",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": getting username and password: 1 error occurred:\\n\\t* reading JSON file \\"no.json\\": unmarshaling JSON at \\"no.json\\": invalid character \'n\' looking for beginning of object key string\\n\\n"\n',
    ),
    Message(
        "CERTIFICATE",
        "inspect: unknown authority",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": pinging container registry 127.0.0.1:5000: Get \\"https://127.0.0.1:5000/v2/\\": x509: certificate signed by unknown authority"\n',
    ),
    Message(
        "CERTIFICATE",
        "copy: unknown authority",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app:v1: pinging container registry 127.0.0.1:5000: Get \\"https://127.0.0.1:5000/v2/\\": x509: certificate signed by unknown authority"\n',
    ),
    Message(
        "CERTIFICATE",
        "inspect: plain HTTP asked over TLS",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": pinging container registry 127.0.0.1:5000: Get \\"https://127.0.0.1:5000/v2/\\": http: server gave HTTP response to HTTPS client"\n',
    ),
    Message(
        "NETWORK",
        "inspect: connection refused",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": pinging container registry 127.0.0.1:5000: Get \\"https://127.0.0.1:5000/v2/\\": dial tcp 127.0.0.1:5000: connect: connection refused"\n',
    ),
    Message(
        "NETWORK",
        "inspect: no such host",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://registry.example.invalid/team/app:v1\\": pinging container registry registry.example.invalid: Get \\"https://registry.example.invalid/v2/\\": dial tcp: lookup registry.example.invalid on 127.0.0.53:53: no such host"\n',
    ),
    Message(
        "NETWORK",
        "inspect: connection refused",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": pinging container registry 127.0.0.1:5000: Get \\"http://127.0.0.1:5000/v2/\\": dial tcp 127.0.0.1:5000: connect: connection refused"\n',
    ),
    Message(
        "NETWORK",
        "inspect: no such host",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://registry.example.invalid/team/app:v1\\": pinging container registry registry.example.invalid: Get \\"http://registry.example.invalid/v2/\\": dial tcp: lookup registry.example.invalid on 127.0.0.53:53: no such host"\n',
    ),
    Message(
        "NETWORK",
        "copy: no such host",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://registry.example.invalid/team/app:v1: pinging container registry registry.example.invalid: Get \\"http://registry.example.invalid/v2/\\": dial tcp: lookup registry.example.invalid on 127.0.0.53:53: no such host"\n',
    ),
    Message(
        "CERTIFICATE",
        "inspect: wrong name",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": pinging container registry 127.0.0.1:5000: Get \\"https://127.0.0.1:5000/v2/\\": x509: cannot validate certificate for 127.0.0.1 because it doesn\'t contain any IP SANs"\n',
    ),
    Message(
        "CERTIFICATE",
        "inspect: expired",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": pinging container registry 127.0.0.1:5000: Get \\"https://127.0.0.1:5000/v2/\\": x509: certificate has expired or is not yet valid: current time 2026-01-01T00:00:00Z is after 2020-01-01T00:00:00Z"\n',
    ),
    Message(
        "NETWORK",
        "inspect: closed at once",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": pinging container registry 127.0.0.1:5000: Get \\"http://127.0.0.1:5000/v2/\\": EOF"\n',
    ),
    Message(
        "NETWORK",
        "inspect: closed at once, TLS",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": pinging container registry 127.0.0.1:5000: Get \\"https://127.0.0.1:5000/v2/\\": EOF"\n',
    ),
    Message(
        "NETWORK",
        "inspect: silent, TLS",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": pinging container registry 127.0.0.1:5000: Get \\"https://127.0.0.1:5000/v2/\\": net/http: TLS handshake timeout"\n',
    ),
    Message(
        "PLATFORM",
        "inspect --config: no linux/amd64",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing manifest for image: choosing image instance: no image found in image index for architecture amd64, variant \\"\\", OS linux"\n',
    ),
    Message(
        "PLATFORM",
        "copy: no linux/amd64",
        'time="2026-01-01T00:00:00Z" level=fatal msg="choosing an image from manifest list docker://127.0.0.1:5000/team/arm:v1: no image found in image index for architecture amd64, variant \\"\\", OS linux"\n',
    ),
    Message(
        "CONTENT",
        "copy: no JSON at all",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing image from source docker://127.0.0.1:5000/team/odd:v1: invalid character \'\\\\u0084\' looking for beginning of value"\n',
    ),
    Message(
        "CONTENT",
        "inspect --config: no JSON at all",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing manifest for image: invalid character \'\\\\u0084\' looking for beginning of value"\n',
    ),
    Message(
        "DISK",
        "copy: no space",
        'time="2026-01-01T00:00:00Z" level=fatal msg="writing blob: write full/image/oci-put-blob1: no space left on device"\n',
    ),
    Message(
        "DISK",
        "copy: read-only",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing destination oci:full/other:: mkdir full/other: read-only file system"\n',
    ),
    Message(
        "UNAUTHORIZED",
        "copy: 401, manifest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app:v1: reading manifest v1 in 127.0.0.1:5000/team/app: unauthorized"\n',
    ),
    Message(
        "UNAUTHORIZED",
        "copy: 401, manifest, by digest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app@sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6: reading manifest sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6 in 127.0.0.1:5000/team/app: unauthorized"\n',
    ),
    Message(
        "UNAUTHORIZED",
        "inspect: 401, manifest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": reading manifest v1 in 127.0.0.1:5000/team/app: unauthorized"\n',
    ),
    Message(
        "UNAUTHORIZED",
        "copy: 401, layer",
        'time="2026-01-01T00:00:00Z" level=fatal msg="reading blob sha256:57ebf60494f39d8e439bafac2b54ec91ac5d917d467ab10010e82cfb7f87e52b: unable to retrieve auth token: invalid username/password: unauthorized"\n',
    ),
    Message(
        "UNAUTHORIZED",
        "copy: 401, config",
        'time="2026-01-01T00:00:00Z" level=fatal msg="reading config blob sha256:b3366189e516e4459938b259291e1fd1685c25684a62da2029f0ce12b1d899d1: unable to retrieve auth token: invalid username/password: unauthorized"\n',
    ),
    Message(
        "UNAUTHORIZED",
        "inspect --config: 401, config",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error reading configuration blob: unable to retrieve auth token: invalid username/password: unauthorized"\n',
    ),
    Message(
        "UNAUTHORIZED",
        "copy: 403, ping",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app:v1: pinging container registry 127.0.0.1:5000: invalid status code from registry 403 (Forbidden)"\n',
    ),
    Message(
        "UNAUTHORIZED",
        "copy: 403, ping, by digest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app@sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6: pinging container registry 127.0.0.1:5000: invalid status code from registry 403 (Forbidden)"\n',
    ),
    Message(
        "UNAUTHORIZED",
        "inspect: 403, ping",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": pinging container registry 127.0.0.1:5000: invalid status code from registry 403 (Forbidden)"\n',
    ),
    Message(
        "UNAUTHORIZED",
        "copy: 403, manifest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app:v1: reading manifest v1 in 127.0.0.1:5000/team/app: denied"\n',
    ),
    Message(
        "UNAUTHORIZED",
        "copy: 403, manifest, by digest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app@sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6: reading manifest sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6 in 127.0.0.1:5000/team/app: denied"\n',
    ),
    Message(
        "UNAUTHORIZED",
        "inspect: 403, manifest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": reading manifest v1 in 127.0.0.1:5000/team/app: denied"\n',
    ),
    Message(
        "UNAUTHORIZED",
        "copy: 403, layer",
        'time="2026-01-01T00:00:00Z" level=fatal msg="reading blob sha256:57ebf60494f39d8e439bafac2b54ec91ac5d917d467ab10010e82cfb7f87e52b: Error fetching blob: invalid status code from registry 403 (Forbidden)"\n',
    ),
    Message(
        "UNAUTHORIZED",
        "copy: 403, config",
        'time="2026-01-01T00:00:00Z" level=fatal msg="reading config blob sha256:b3366189e516e4459938b259291e1fd1685c25684a62da2029f0ce12b1d899d1: Error fetching blob: invalid status code from registry 403 (Forbidden)"\n',
    ),
    Message(
        "UNAUTHORIZED",
        "inspect --config: 403, config",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error reading configuration blob: Error fetching blob: invalid status code from registry 403 (Forbidden)"\n',
    ),
    Message(
        "NOT_FOUND",
        "copy: 404, ping",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app:v1: pinging container registry 127.0.0.1:5000: invalid status code from registry 404 (Not Found)"\n',
    ),
    Message(
        "NOT_FOUND",
        "copy: 404, ping, by digest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app@sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6: pinging container registry 127.0.0.1:5000: invalid status code from registry 404 (Not Found)"\n',
    ),
    Message(
        "NOT_FOUND",
        "inspect: 404, ping",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": pinging container registry 127.0.0.1:5000: invalid status code from registry 404 (Not Found)"\n',
    ),
    Message(
        "NOT_FOUND",
        "copy: 404, manifest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app:v1: reading manifest v1 in 127.0.0.1:5000/team/app: manifest unknown"\n',
    ),
    Message(
        "NOT_FOUND",
        "copy: 404, manifest, by digest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app@sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6: reading manifest sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6 in 127.0.0.1:5000/team/app: manifest unknown"\n',
    ),
    Message(
        "NOT_FOUND",
        "inspect: 404, manifest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": reading manifest v1 in 127.0.0.1:5000/team/app: manifest unknown"\n',
    ),
    Message(
        "RATE_LIMITED",
        "copy: 429, ping",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app:v1: pinging container registry 127.0.0.1:5000: too many requests to registry"\n',
    ),
    Message(
        "RATE_LIMITED",
        "copy: 429, ping, by digest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app@sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6: pinging container registry 127.0.0.1:5000: too many requests to registry"\n',
    ),
    Message(
        "RATE_LIMITED",
        "inspect: 429, ping",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": pinging container registry 127.0.0.1:5000: too many requests to registry"\n',
    ),
    Message(
        "RATE_LIMITED",
        "copy: 429, manifest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app:v1: reading manifest v1 in 127.0.0.1:5000/team/app: toomanyrequests: You have reached your pull rate limit."\n',
    ),
    Message(
        "RATE_LIMITED",
        "copy: 429, manifest, by digest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app@sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6: reading manifest sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6 in 127.0.0.1:5000/team/app: toomanyrequests: You have reached your pull rate limit."\n',
    ),
    Message(
        "RATE_LIMITED",
        "inspect: 429, manifest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": reading manifest v1 in 127.0.0.1:5000/team/app: toomanyrequests: You have reached your pull rate limit."\n',
    ),
    Message(
        "RATE_LIMITED",
        "copy: 429, layer",
        'time="2026-01-01T00:00:00Z" level=fatal msg="reading blob sha256:57ebf60494f39d8e439bafac2b54ec91ac5d917d467ab10010e82cfb7f87e52b: too many requests to registry"\n',
    ),
    Message(
        "RATE_LIMITED",
        "copy: 429, config",
        'time="2026-01-01T00:00:00Z" level=fatal msg="reading config blob sha256:b3366189e516e4459938b259291e1fd1685c25684a62da2029f0ce12b1d899d1: too many requests to registry"\n',
    ),
    Message(
        "RATE_LIMITED",
        "inspect --config: 429, config",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error reading configuration blob: too many requests to registry"\n',
    ),
    Message(
        "SERVER",
        "copy: 500, ping",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app:v1: pinging container registry 127.0.0.1:5000: invalid status code from registry 500 (Internal Server Error)"\n',
    ),
    Message(
        "SERVER",
        "copy: 500, ping, by digest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app@sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6: pinging container registry 127.0.0.1:5000: invalid status code from registry 500 (Internal Server Error)"\n',
    ),
    Message(
        "SERVER",
        "inspect: 500, ping",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": pinging container registry 127.0.0.1:5000: invalid status code from registry 500 (Internal Server Error)"\n',
    ),
    Message(
        "SERVER",
        "copy: 500, manifest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app:v1: reading manifest v1 in 127.0.0.1:5000/team/app: received unexpected HTTP status: 500 Internal Server Error"\n',
    ),
    Message(
        "SERVER",
        "copy: 500, manifest, by digest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app@sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6: reading manifest sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6 in 127.0.0.1:5000/team/app: received unexpected HTTP status: 500 Internal Server Error"\n',
    ),
    Message(
        "SERVER",
        "inspect: 500, manifest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": reading manifest v1 in 127.0.0.1:5000/team/app: received unexpected HTTP status: 500 Internal Server Error"\n',
    ),
    Message(
        "SERVER",
        "copy: 500, layer",
        'time="2026-01-01T00:00:00Z" level=fatal msg="reading blob sha256:57ebf60494f39d8e439bafac2b54ec91ac5d917d467ab10010e82cfb7f87e52b: Error fetching blob: invalid status code from registry 500 (Internal Server Error)"\n',
    ),
    Message(
        "SERVER",
        "copy: 500, config",
        'time="2026-01-01T00:00:00Z" level=fatal msg="reading config blob sha256:b3366189e516e4459938b259291e1fd1685c25684a62da2029f0ce12b1d899d1: Error fetching blob: invalid status code from registry 500 (Internal Server Error)"\n',
    ),
    Message(
        "SERVER",
        "inspect --config: 500, config",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error reading configuration blob: Error fetching blob: invalid status code from registry 500 (Internal Server Error)"\n',
    ),
    Message(
        "SERVER",
        "copy: 502, ping",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app:v1: pinging container registry 127.0.0.1:5000: invalid status code from registry 502 (Bad Gateway)"\n',
    ),
    Message(
        "SERVER",
        "copy: 502, ping, by digest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app@sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6: pinging container registry 127.0.0.1:5000: invalid status code from registry 502 (Bad Gateway)"\n',
    ),
    Message(
        "SERVER",
        "inspect: 502, ping",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": pinging container registry 127.0.0.1:5000: invalid status code from registry 502 (Bad Gateway)"\n',
    ),
    Message(
        "SERVER",
        "copy: 502, manifest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app:v1: reading manifest v1 in 127.0.0.1:5000/team/app: received unexpected HTTP status: 502 Bad Gateway"\n',
    ),
    Message(
        "SERVER",
        "copy: 502, manifest, by digest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app@sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6: reading manifest sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6 in 127.0.0.1:5000/team/app: received unexpected HTTP status: 502 Bad Gateway"\n',
    ),
    Message(
        "SERVER",
        "inspect: 502, manifest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": reading manifest v1 in 127.0.0.1:5000/team/app: received unexpected HTTP status: 502 Bad Gateway"\n',
    ),
    Message(
        "SERVER",
        "copy: 502, layer",
        'time="2026-01-01T00:00:00Z" level=fatal msg="reading blob sha256:57ebf60494f39d8e439bafac2b54ec91ac5d917d467ab10010e82cfb7f87e52b: Error fetching blob: invalid status code from registry 502 (Bad Gateway)"\n',
    ),
    Message(
        "SERVER",
        "copy: 502, config",
        'time="2026-01-01T00:00:00Z" level=fatal msg="reading config blob sha256:b3366189e516e4459938b259291e1fd1685c25684a62da2029f0ce12b1d899d1: Error fetching blob: invalid status code from registry 502 (Bad Gateway)"\n',
    ),
    Message(
        "SERVER",
        "inspect --config: 502, config",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error reading configuration blob: Error fetching blob: invalid status code from registry 502 (Bad Gateway)"\n',
    ),
    Message(
        "SERVER",
        "copy: 503, ping",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app:v1: pinging container registry 127.0.0.1:5000: invalid status code from registry 503 (Service Unavailable)"\n',
    ),
    Message(
        "SERVER",
        "copy: 503, ping, by digest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app@sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6: pinging container registry 127.0.0.1:5000: invalid status code from registry 503 (Service Unavailable)"\n',
    ),
    Message(
        "SERVER",
        "inspect: 503, ping",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": pinging container registry 127.0.0.1:5000: invalid status code from registry 503 (Service Unavailable)"\n',
    ),
    Message(
        "SERVER",
        "copy: 503, manifest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app:v1: reading manifest v1 in 127.0.0.1:5000/team/app: received unexpected HTTP status: 503 Service Unavailable"\n',
    ),
    Message(
        "SERVER",
        "copy: 503, manifest, by digest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app@sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6: reading manifest sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6 in 127.0.0.1:5000/team/app: received unexpected HTTP status: 503 Service Unavailable"\n',
    ),
    Message(
        "SERVER",
        "inspect: 503, manifest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": reading manifest v1 in 127.0.0.1:5000/team/app: received unexpected HTTP status: 503 Service Unavailable"\n',
    ),
    Message(
        "SERVER",
        "copy: 503, layer",
        'time="2026-01-01T00:00:00Z" level=fatal msg="reading blob sha256:57ebf60494f39d8e439bafac2b54ec91ac5d917d467ab10010e82cfb7f87e52b: Error fetching blob: invalid status code from registry 503 (Service Unavailable)"\n',
    ),
    Message(
        "SERVER",
        "copy: 503, config",
        'time="2026-01-01T00:00:00Z" level=fatal msg="reading config blob sha256:b3366189e516e4459938b259291e1fd1685c25684a62da2029f0ce12b1d899d1: Error fetching blob: invalid status code from registry 503 (Service Unavailable)"\n',
    ),
    Message(
        "SERVER",
        "inspect --config: 503, config",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error reading configuration blob: Error fetching blob: invalid status code from registry 503 (Service Unavailable)"\n',
    ),
    Message(
        "SERVER",
        "copy: 504, ping",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app:v1: pinging container registry 127.0.0.1:5000: invalid status code from registry 504 (Gateway Timeout)"\n',
    ),
    Message(
        "SERVER",
        "copy: 504, ping, by digest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app@sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6: pinging container registry 127.0.0.1:5000: invalid status code from registry 504 (Gateway Timeout)"\n',
    ),
    Message(
        "SERVER",
        "inspect: 504, ping",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": pinging container registry 127.0.0.1:5000: invalid status code from registry 504 (Gateway Timeout)"\n',
    ),
    Message(
        "SERVER",
        "copy: 504, manifest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app:v1: reading manifest v1 in 127.0.0.1:5000/team/app: received unexpected HTTP status: 504 Gateway Timeout"\n',
    ),
    Message(
        "SERVER",
        "copy: 504, manifest, by digest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app@sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6: reading manifest sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6 in 127.0.0.1:5000/team/app: received unexpected HTTP status: 504 Gateway Timeout"\n',
    ),
    Message(
        "SERVER",
        "inspect: 504, manifest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": reading manifest v1 in 127.0.0.1:5000/team/app: received unexpected HTTP status: 504 Gateway Timeout"\n',
    ),
    Message(
        "SERVER",
        "copy: 504, layer",
        'time="2026-01-01T00:00:00Z" level=fatal msg="reading blob sha256:57ebf60494f39d8e439bafac2b54ec91ac5d917d467ab10010e82cfb7f87e52b: Error fetching blob: invalid status code from registry 504 (Gateway Timeout)"\n',
    ),
    Message(
        "SERVER",
        "copy: 504, config",
        'time="2026-01-01T00:00:00Z" level=fatal msg="reading config blob sha256:b3366189e516e4459938b259291e1fd1685c25684a62da2029f0ce12b1d899d1: Error fetching blob: invalid status code from registry 504 (Gateway Timeout)"\n',
    ),
    Message(
        "SERVER",
        "inspect --config: 504, config",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error reading configuration blob: Error fetching blob: invalid status code from registry 504 (Gateway Timeout)"\n',
    ),
    Message(
        "NETWORK",
        "copy: reset before the head, ping",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app:v1: pinging container registry 127.0.0.1:5000: Get \\"http://127.0.0.1:5000/v2/\\": read tcp 127.0.0.1:40000->127.0.0.1:5000: read: connection reset by peer"\n',
    ),
    Message(
        "NETWORK",
        "copy: reset before the head, ping, by digest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app@sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6: pinging container registry 127.0.0.1:5000: Get \\"http://127.0.0.1:5000/v2/\\": read tcp 127.0.0.1:40000->127.0.0.1:5000: read: connection reset by peer"\n',
    ),
    Message(
        "NETWORK",
        "inspect: reset before the head, ping",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": pinging container registry 127.0.0.1:5000: Get \\"http://127.0.0.1:5000/v2/\\": read tcp 127.0.0.1:40000->127.0.0.1:5000: read: connection reset by peer"\n',
    ),
    Message(
        "NETWORK",
        "copy: reset before the head, manifest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app:v1: Get \\"http://127.0.0.1:5000/v2/team/app/manifests/v1\\": read tcp 127.0.0.1:40000->127.0.0.1:5000: read: connection reset by peer"\n',
    ),
    Message(
        "NETWORK",
        "copy: reset before the head, manifest, by digest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app@sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6: Get \\"http://127.0.0.1:5000/v2/team/app/manifests/sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6\\": read tcp 127.0.0.1:40000->127.0.0.1:5000: read: connection reset by peer"\n',
    ),
    Message(
        "NETWORK",
        "inspect: reset before the head, manifest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": Get \\"http://127.0.0.1:5000/v2/team/app/manifests/v1\\": read tcp 127.0.0.1:40000->127.0.0.1:5000: read: connection reset by peer"\n',
    ),
    Message(
        "NETWORK",
        "copy: reset before the head, layer",
        'time="2026-01-01T00:00:00Z" level=fatal msg="reading blob sha256:57ebf60494f39d8e439bafac2b54ec91ac5d917d467ab10010e82cfb7f87e52b: Get \\"http://127.0.0.1:5000/v2/team/app/blobs/sha256:57ebf60494f39d8e439bafac2b54ec91ac5d917d467ab10010e82cfb7f87e52b\\": read tcp 127.0.0.1:40000->127.0.0.1:5000: read: connection reset by peer"\n',
    ),
    Message(
        "NETWORK",
        "copy: reset before the head, config",
        'time="2026-01-01T00:00:00Z" level=fatal msg="reading config blob sha256:b3366189e516e4459938b259291e1fd1685c25684a62da2029f0ce12b1d899d1: Get \\"http://127.0.0.1:5000/v2/team/app/blobs/sha256:b3366189e516e4459938b259291e1fd1685c25684a62da2029f0ce12b1d899d1\\": read tcp 127.0.0.1:40000->127.0.0.1:5000: read: connection reset by peer"\n',
    ),
    Message(
        "NETWORK",
        "inspect --config: reset before the head, config",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error reading configuration blob: Get \\"http://127.0.0.1:5000/v2/team/app/blobs/sha256:b3366189e516e4459938b259291e1fd1685c25684a62da2029f0ce12b1d899d1\\": read tcp 127.0.0.1:40000->127.0.0.1:5000: read: connection reset by peer"\n',
    ),
    Message(
        "NETWORK",
        "copy: reset after the head, manifest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app:v1: read tcp 127.0.0.1:40000->127.0.0.1:5000: read: connection reset by peer"\n',
    ),
    Message(
        "NETWORK",
        "copy: reset after the head, manifest, by digest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app@sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6: read tcp 127.0.0.1:40000->127.0.0.1:5000: read: connection reset by peer"\n',
    ),
    Message(
        "NETWORK",
        "inspect: reset after the head, manifest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": read tcp 127.0.0.1:40000->127.0.0.1:5000: read: connection reset by peer"\n',
    ),
    Message(
        "NETWORK",
        "copy: reset after the head, layer",
        'time="2026-01-01T00:00:00Z" level=fatal msg="reading blob sha256:57ebf60494f39d8e439bafac2b54ec91ac5d917d467ab10010e82cfb7f87e52b: read tcp 127.0.0.1:40000->127.0.0.1:5000: read: connection reset by peer"\n',
    ),
    Message(
        "NETWORK",
        "copy: reset after the head, config",
        'time="2026-01-01T00:00:00Z" level=fatal msg="reading config blob sha256:b3366189e516e4459938b259291e1fd1685c25684a62da2029f0ce12b1d899d1: read tcp 127.0.0.1:40000->127.0.0.1:5000: read: connection reset by peer"\n',
    ),
    Message(
        "NETWORK",
        "inspect --config: reset after the head, config",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error reading configuration blob: read tcp 127.0.0.1:40000->127.0.0.1:5000: read: connection reset by peer"\n',
    ),
    Message(
        "NETWORK",
        "copy: reset in the body, layer",
        'time="2026-01-01T00:00:00Z" level=fatal msg="writing blob: happened during read: read tcp 127.0.0.1:40000->127.0.0.1:5000: read: connection reset by peer"\n',
    ),
    Message(
        "NETWORK",
        "copy: truncated, manifest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app:v1: unexpected EOF"\n',
    ),
    Message(
        "NETWORK",
        "copy: truncated, manifest, by digest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://127.0.0.1:5000/team/app@sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6: unexpected EOF"\n',
    ),
    Message(
        "NETWORK",
        "inspect: truncated, manifest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://127.0.0.1:5000/team/app:v1\\": unexpected EOF"\n',
    ),
    Message(
        "NETWORK",
        "copy: truncated, layer",
        'time="2026-01-01T00:00:00Z" level=fatal msg="writing blob: happened during read: unexpected EOF"\n',
    ),
    Message(
        "NETWORK",
        "copy: truncated, config",
        'time="2026-01-01T00:00:00Z" level=fatal msg="reading config blob sha256:b3366189e516e4459938b259291e1fd1685c25684a62da2029f0ce12b1d899d1: unexpected EOF"\n',
    ),
    Message(
        "NETWORK",
        "inspect --config: truncated, config",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error reading configuration blob: unexpected EOF"\n',
    ),
    Message(
        "CONTENT",
        "copy: wrong bytes, manifest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="trying to reuse blob sha256:57ebf60494f39d8e439bafac2b54ec91ac5d917d467ab�0010e82cfb7f87e52b at destination: unexpected digest reference sha256:57ebf60494f39d8e439bafac2b54ec91ac5d917d467ab�0010e82cfb7f87e52b: invalid checksum digest length"\n',
    ),
    Message(
        "CONTENT",
        "copy: wrong bytes, manifest, by digest",
        'time="2026-01-01T00:00:00Z" level=fatal msg="determining manifest MIME type for docker://127.0.0.1:5000/team/app@sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6: Manifest does not match provided manifest digest sha256:e1644637b46b04f624975055642e6d532cb43a4c9b8fa4dc80fd35b0deb250b6"\n',
    ),
    Message(
        "CONTENT",
        "copy: wrong bytes, layer",
        'time="2026-01-01T00:00:00Z" level=fatal msg="writing blob: happened during read: Digest did not match, expected sha256:57ebf60494f39d8e439bafac2b54ec91ac5d917d467ab10010e82cfb7f87e52b, got sha256:a6a4738fb13690a40591fe8c5c0f5c465d4a7d357eab7619d92eee78da3e506d"\n',
    ),
    Message(
        "CONTENT",
        "copy: wrong bytes, config",
        'time="2026-01-01T00:00:00Z" level=fatal msg="reading config blob sha256:b3366189e516e4459938b259291e1fd1685c25684a62da2029f0ce12b1d899d1: Download config.json digest sha256:b590474fceea1a906b26073c00c3dcf05bd14fbd9b9d98a5a87dda92afe54064 does not match expected sha256:b3366189e516e4459938b259291e1fd1685c25684a62da2029f0ce12b1d899d1"\n',
    ),
    Message(
        "CONTENT",
        "inspect --config: wrong bytes, config",
        'time="2026-01-01T00:00:00Z" level=fatal msg="Error reading configuration blob: Download config.json digest sha256:b590474fceea1a906b26073c00c3dcf05bd14fbd9b9d98a5a87dda92afe54064 does not match expected sha256:b3366189e516e4459938b259291e1fd1685c25684a62da2029f0ce12b1d899d1"\n',
    ),
)
