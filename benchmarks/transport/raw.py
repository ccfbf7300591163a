"""The limit: every distinct manifest and blob once, over kept-alive connections, SHA-256, written. Nothing else is done.

raw.py http|https HOST LIST THREADS          writes into ./blobs
"""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import os
import queue
import re
import ssl
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

ACCEPT = ", ".join(
    f"application/vnd.{name}+json"
    for name in (
        "oci.image.index.v1",
        "oci.image.manifest.v1",
        "docker.distribution.manifest.list.v2",
        "docker.distribution.manifest.v2",
    )
)
SCHEME, HOST, LIST, THREADS = sys.argv[1:]
CONTEXT = ssl.create_default_context() if SCHEME == "https" else None
BUFFER = 1 << 20

own = threading.local()
tokens: dict[str, str] = {}
seen: set[str] = set()
lock = threading.Lock()
order = itertools.count()
jobs: queue.PriorityQueue[tuple[int, int, str, str, str]] = queue.PriorityQueue()


def add(kind: str, repository: str, reference: str) -> None:
    with lock:
        if reference in seen:
            return
        seen.add(reference)
        jobs.put((1 if kind == "blobs" else 0, next(order), kind, repository, reference))


def get(host: str, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    connections: dict[str, http.client.HTTPConnection] = own.__dict__.setdefault("connections", {})
    if host not in connections:
        made = http.client.HTTPSConnection(host, context=CONTEXT) if CONTEXT else http.client.HTTPConnection(host)
        connections[host] = made
    connections[host].request("GET", path, headers=headers)
    return connections[host].getresponse()


def ask(repository: str, path: str) -> http.client.HTTPResponse:
    headers = {"Accept": ACCEPT}
    if repository in tokens:
        headers["Authorization"] = tokens[repository]
    answer = get(HOST, path, headers)
    if answer.status == 401:
        answer.read()
        challenge = dict(re.findall(r'(\w+)="([^"]*)"', answer.headers["WWW-Authenticate"]))
        realm = urlsplit(challenge["realm"])
        given = get(realm.netloc, f"{realm.path}?{urlencode({'scope': challenge.get('scope', '')})}", {})
        tokens[repository] = headers["Authorization"] = "Bearer " + json.loads(given.read())["token"]
        answer = get(HOST, path, headers)
    if answer.status in (302, 307):
        answer.read()
        place = urlsplit(answer.headers["Location"])
        answer = get(place.netloc, f"{place.path}?{place.query}", {})
    assert answer.status == 200, (answer.status, path)
    return answer


def fetch_manifest(repository: str, reference: str) -> None:
    data = ask(repository, f"/v2/{repository}/manifests/{reference}").read()
    Path("blobs", hashlib.sha256(data).hexdigest()).write_bytes(data)
    document: dict[str, Any] = json.loads(data)
    for entry in document.get("manifests", ()):
        add("manifests", repository, entry["digest"])
    for entry in [document["config"], *document["layers"]] if "layers" in document else ():
        add("blobs", repository, entry["digest"])


def fetch_blob(repository: str, digest: str) -> None:
    answer = ask(repository, f"/v2/{repository}/blobs/{digest}")
    hasher, buffer = hashlib.sha256(), memoryview(bytearray(BUFFER))
    with open(f"blobs/{digest[7:]}", "wb", 0) as file:  # noqa: PTH123
        while size := answer.readinto(buffer):
            hasher.update(buffer[:size])
            file.write(buffer[:size])
    assert f"sha256:{hasher.hexdigest()}" == digest


def work() -> None:
    try:
        while True:
            _, _, kind, repository, reference = jobs.get()
            (fetch_blob if kind == "blobs" else fetch_manifest)(repository, reference)
            jobs.task_done()
    except BaseException as error:
        print(error, file=sys.stderr)
        os._exit(1)


Path("blobs").mkdir()
for line in Path(LIST).read_text().split():
    name, _, tag = line.partition("/")[2].rpartition(":")
    with lock:
        jobs.put((0, next(order), "manifests", name, tag))
for _ in range(int(THREADS)):
    threading.Thread(target=work, daemon=True).start()
jobs.join()
