"""Validation accuracy before and after quantization-aware training."""

from __future__ import annotations

from typing import Any

from pipeline.plugins import SECTIONS
from pipeline.report.facts import Facts
from pipeline.report.sections import section


@SECTIONS.register("qat")
@section("Quantization-aware training", order=40)
def qat(facts: Facts) -> dict[str, Any] | None:
    """Contents of ``qat.json``; None if no candidate comes from it."""
    return None if facts.qat is None else {"qat": facts.qat}
