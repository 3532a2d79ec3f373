"""Origin, license, split and size of the data set, and SHA-256 of the bundle's inputs."""

from dataclasses import asdict

from finch_runtime.image_size import as_text
from markupsafe import Markup

from pipeline.plugins import SECTIONS
from pipeline.report.document import Part, blocks
from pipeline.report.facts import Facts
from pipeline.report.formats import pixels
from pipeline.report.sections import section
from pipeline.report.session_note import describe_sessions
from pipeline.report.table import images_per_class


@SECTIONS.register("data")
@section("Data", order=90)
def data(facts: Facts) -> list[Part]:
    """Description of the data set, and images per class and split."""
    dataset, prepare = facts.dataset, facts.params.prepare
    origin = dataset.origin
    if origin.startswith(("https://", "http://")):
        origin = Markup('<a href="{0}">{0}</a>').format(origin)
    made = dataset.audit.get("split", {"method": prepare.split, "carved": []})
    split, carved = made["method"], " and ".join(made["carved"])
    if carved:
        split += f"; {carved} taken from train"
    if carved or split == "blocks":
        split += f": blocks of {prepare.block} consecutive images stay in one split"
    description = {
        "Source": dataset.source,
        "Origin": origin,
        "License": dataset.license,
        "Images": f"{pixels(dataset.size)}{_own_sizes(facts)}, fit: {dataset.fit}",
        "Split": split,
        "Sessions": describe_sessions(dataset),
        "Fingerprint": blocks.hash(dataset.fingerprint),
    }
    return [blocks.terms(description), images_per_class(dataset)]


def _own_sizes(facts: Facts) -> str:
    """The sizes of teacher and student, unless both see images of the packed size."""
    packed, networks = facts.dataset, (facts.teacher, facts.student)
    teacher, student = (packed.size_at(network.recipe.image_size) for network in networks)
    if teacher == student == packed.size:
        return ""
    return f" (teacher {as_text(teacher)}, student {as_text(student)})"


@SECTIONS.register("provenance")
@section("Provenance", order=110)
def provenance(facts: Facts) -> list[Part]:
    """SHA-256 of the inputs, the intermediate results and the bundle."""
    hashes: dict[str, str] = {}
    for part, digest in asdict(facts.manifest.made_from).items():
        hashes |= {part.capitalize(): digest} if isinstance(digest, str) else digest
    hashes[f"{facts.manifest.name}.tar.gz"] = facts.verified.bundle_sha256
    return [
        "SHA-256 of the bundle and of everything it was made from.",
        blocks.details(
            f"{len(hashes)} hashes",
            [blocks.terms({name: blocks.hash(digest) for name, digest in hashes.items()})],
        ),
    ]
