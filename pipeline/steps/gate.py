"""The gate, an image at a time, before anything is packed: a command that says yes (exit 0) or no (``-gate``).

Takes the image as it was saved; leaves what the command said in a report beside the bundle, and a record of its verdict by the
image's digest. Guarantees: an image that was looked at is not looked at again by the same command and version, whether it was
let through or refused; the command sees exactly what would be packed.
"""

from __future__ import annotations

import hashlib
import shlex
import shutil
import tempfile
from pathlib import Path

from pipeline.core import files, process
from pipeline.core.bundle import Bundle
from pipeline.core.errors import EnvironmentProblem, ImageError
from pipeline.core.interruption import Interruption
from pipeline.core.oci import REF_NAME
from pipeline.steps.images.chosen import ChosenImage
from pipeline.storage.bundle_state import BundleState
from pipeline.storage.cache import Cache
from pipeline.storage.image_layout import LAYOUT_FILE, OCI_LAYOUT

FOLDER, ADDRESS = "{}", "{docker}"
"""What stands for the image in a command: its folder, an OCI image layout; its address at a registry on loopback."""
TIMEOUT = 1800.0
"""Seconds that a command may take for one image."""
REPORTS = ".gate"
"""Of the folder with the reports, behind the name of the bundle."""


def record_of(cache: Cache, bundle: Bundle, item: ChosenImage) -> Path:
    """Where the verdict on an image is kept: by its digest, the command and its version."""
    asked = hashlib.sha256(f"{bundle.gate}\0{bundle.gate_version}".encode()).hexdigest()[:16]
    return cache.state / "gate" / asked / f"{item.choice.digest.hex}.json"


def look(cache: Cache, state: BundleState, bundle: Bundle, item: ChosenImage, interruption: Interruption) -> None:
    """Raises ImageError for an image that is refused, EnvironmentProblem where the command cannot be run, Interrupted."""
    record = record_of(cache, bundle, item)
    known = files.read_sealed(record)
    if not isinstance(known, dict):
        known = _run(cache, state, bundle, item, interruption)
        record.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomic(record, files.dump_sealed(known))
    report = report_of(bundle, item)
    report.parent.mkdir(parents=True, exist_ok=True)
    files.write_if_changed(report, str(known["said"]).encode())
    if known["code"] != 0:
        last = next((line for line in reversed(str(known["said"]).splitlines()) if line.strip()), "it said nothing")
        raise ImageError(f"refused by the gate (exit code {known['code']}): {last.strip()[:200]}", tip=f"see {report}")


def report_of(bundle: Bundle, item: ChosenImage) -> Path:
    destination = bundle.output.destination
    return destination.with_name(destination.name + REPORTS) / f"{item.image.reference.folder.replace('/', '_')}.txt"


def _run(cache: Cache, state: BundleState, bundle: Bundle, item: ChosenImage, interruption: Interruption) -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="tmp-gate-", dir=cache.state) as name:
        folder = Path(name)
        (folder / LAYOUT_FILE).write_bytes(OCI_LAYOUT)
        _link_blobs(cache, item, folder / "blobs")
        index = files.read_json(state.image_index(item.image.reference))
        for entry in index["manifests"]:
            entry["annotations"] = {**entry.get("annotations", {}), REF_NAME: str(item.image.reference)}
        (folder / "index.json").write_bytes(files.dump_json(index))
        words = shlex.split(bundle.gate)
        if any(ADDRESS in word for word in words):
            from pipeline.reader.serve import LayoutFolder, RegistryServer  # here: most saves have no gate, and serve nothing

            with RegistryServer(LayoutFolder(folder)) as server:
                return _verdict([word.replace(ADDRESS, _address(server.host, item)) for word in words], interruption)
        if not any(FOLDER in word for word in words):
            words.append(FOLDER)
        return _verdict([word.replace(FOLDER, str(folder)) for word in words], interruption)


def _link_blobs(cache: Cache, item: ChosenImage, blobs: Path) -> None:
    """All that the image needs, and nothing else: scanners read whatever lies in the folder."""
    needed = {blob.digest for closure in item.closures for blob in closure}
    needed |= {platform.descriptor.digest for platform in item.choice.platforms} | {item.choice.digest}
    for digest in needed:
        source, target = cache.blob(digest), blobs / digest.algorithm / digest.hex
        target.parent.mkdir(parents=True, exist_ok=True)
        if not source.is_file():
            continue  # a layer that stays where it is
        try:
            target.hardlink_to(source)
        except OSError:
            target.symlink_to(source)


def _address(host: str, item: ChosenImage) -> str:
    """``docker://HOST/REPOSITORY:TAG``, as skopeo and scanners have it."""
    found = item.image.reference.at(host)
    return f"docker://{found.by_digest(item.choice.digest) if found.digest or not found.tag else found}"


def _verdict(command: list[str], interruption: Interruption) -> dict[str, object]:
    if shutil.which(command[0]) is None:
        tip = "-gate names a program and its arguments; {} stands for the image's folder"
        raise EnvironmentProblem(f"the gate {command[0]} cannot be run: there is no such program", tip=tip)
    try:
        done = process.run_until(command, interruption, timeout=TIMEOUT)
    except TimeoutError as error:
        return {"code": -1, "said": f"the gate did not end: {error}\n"}
    return {"code": done.code, "said": (done.out + done.err).decode(errors="replace")}
