"""SHA-256 of the inputs, the intermediate results and the bundle."""

from __future__ import annotations

from typing import Any

from pipeline.plugins import SECTIONS
from pipeline.report.facts import Facts
from pipeline.report.sections import section


@SECTIONS.register("provenance")
@section("Provenance", order=110)
def provenance(facts: Facts) -> dict[str, Any]:
    """Hashes by name."""
    hashes: dict[str, str] = {}
    for part, digest in facts.manifest["made_from"].items():
        hashes |= {part.capitalize(): digest} if isinstance(digest, str) else digest
    hashes[f"{facts.manifest['name']}.tar.gz"] = facts.verified.bundle_sha256
    return {"hashes": hashes}
