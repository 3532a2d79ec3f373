"""Origin, license, split and size of the data set."""

from __future__ import annotations

from typing import Any

from pipeline.plugins import SECTIONS
from pipeline.report.facts import Facts
from pipeline.report.sections import section
from pipeline.report.table import images_per_class


@SECTIONS.register("data")
@section("Data", order=90)
def data(facts: Facts) -> dict[str, Any]:
    """Description of the data set, and images per class and split."""
    prepare = facts.params["prepare"]
    split = prepare["split"]
    if split == "blocks":
        split += f": blocks of {prepare['block']} consecutive images stay in one split"
    return {
        "is_link": facts.dataset["origin"].startswith(("https://", "http://")),
        "split": split,
        "counts": images_per_class(facts.dataset),
    }
