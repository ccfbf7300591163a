"""``image-tools ls SOURCE``: what is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pipeline.cli.arguments import DEBUG, JSON, one_source, print_json, print_lines
from pipeline.cli.command import Body
from pipeline.cli.go_flags import Given
from pipeline.config.flag import Flag
from pipeline.core.amounts import bytes_text
from pipeline.core.errors import EXIT_OK, EXIT_SOME_FAILED
from pipeline.reader.contents import open_contents
from pipeline.reader.listing import ListedImage, ListedReferrer, Listing, make_listing
from pipeline.storage import locks
from pipeline.ui.terminal import kind_text, referrers_text, table


def _run(given: Given, operands: tuple[str, ...]) -> int:
    # A second archive is a mistake, and no pattern.
    source = one_source(operands if any(Path(each).is_file() for each in operands[1:]) else operands[:1], "ls")
    with locks.reading(source):
        listing = make_listing(open_contents(source), operands[1:])
    if given.switch("json"):
        print_json(listing.to_json())
    else:
        print_lines(*_lines(listing, is_verbose=given.switch("v")))
    return EXIT_OK if listing.is_whole else EXIT_SOME_FAILED


BODY = Body(
    run=_run,
    flags=(DEBUG, JSON, Flag("v", False, "show digests and each platform's size", long="verbose")),
    about="""
image-tools ls SOURCE lists the images in SOURCE: an archive, volumes (the name of one, or what
they have in common), or a folder. Nothing is unpacked. Patterns choose images. OWN is what no other
image has, too. Platforms are those of Linux where no other system is named.
""",
    examples=("image-tools ls saved-images.tar.gz", "image-tools ls saved-images.tar.gz 'rancher/*' -json"),
    takes_files=True,
)


def _lines(listing: Listing, *, is_verbose: bool) -> Iterator[str]:
    """A total, then a table; what is wrong comes last, where it is seen."""
    platforms = sum(not each.is_attestation for image in listing.images for each in image.platforms)
    images = f"{len(listing.images)} images{referrers_text(listing.referrers)}"
    yield (
        f"{images}, {platforms} image/arches, {listing.blobs} blobs, {bytes_text(listing.size)}"
        f" ({bytes_text(listing.total - listing.size)} saved by sharing)"
    )
    if listing.left_out is not None:
        count, size = listing.left_out
        yield f"a delta: {count} layers, {bytes_text(size)} of that, are left out; {' and '.join(listing.bases)} has them"
    yield ""
    if is_verbose:
        for image in listing.images:
            yield from _image(image)
    else:
        yield from table(("IMAGE", "PLATFORMS", ">SIZE", ">OWN", ""), map(_row, listing.images))
    yield from (f"cannot be read: {problem}" for problem in listing.problems)


def _row(image: ListedImage) -> tuple[str, ...]:
    if image.problem:
        return (image.reference, "damaged: " + image.problem.partition("\n")[0], "", "", "")
    names = dict.fromkeys(each.platform.removeprefix("linux/") or "-" for each in image.platforms if not each.is_attestation)
    kinds = Counter(kind_text(each.artifact_type, each.predicate) for each in image.referrers)
    along = ", ".join(kind if count == 1 else f"{count} {kind}s" for kind, count in kinds.items())
    sizes = bytes_text(image.size), bytes_text(image.size - image.shared)
    return (image.reference, " ".join(names), *sizes, f"+ {along}" if along else "")


def _image(image: ListedImage) -> Iterator[str]:
    yield image.reference
    if image.problem:
        yield "    damaged: " + image.problem.partition("\n")[0]
        yield ""
        return
    shared = f", {bytes_text(image.shared)} of it shared" if image.shared else ""
    yield f"    {image.digest}  {bytes_text(image.size)}{shared}"
    for each in image.platforms:
        if each.digest == image.digest:
            yield f"    {each.platform or 'no platform'}"
        else:
            name = "attestation" if each.is_attestation else each.platform or "no platform"
            yield f"    {name:<16} {each.digest}  {bytes_text(each.size)}"
    for referrer in image.referrers:
        yield f"    {kind_text(referrer.artifact_type, referrer.predicate):<16} {referrer.digest}  {bytes_text(referrer.size)}"
        yield f"    {'':<16} of {_subject(image, referrer)}"
    yield ""


def _subject(image: ListedImage, referrer: ListedReferrer) -> str:
    """What it refers to, by the name that it has above."""
    names = {image.digest: "the image", **{each.digest: each.platform for each in image.platforms if each.platform}}
    return names.get(referrer.subject) or str(referrer.subject)
