"""Which candidate ships, by what one device measured: ``bundle`` held to an evaluation."""

from __future__ import annotations

from dataclasses import replace

from pipeline.measure.evaluation import Evaluation
from pipeline.params import Bundle
from pipeline.shipping.select import Limits, Measurement, Selection, Verdict, select


def choose(evaluation: Evaluation, rule: Bundle) -> Selection:
    """Applies the rule to a device's measurements, made a moment or a year ago.

    Args:
        evaluation: What the device measured.
        rule: The section ``bundle`` of the parameters; its ``device`` is not looked at.

    Returns:
        The choice, with a verdict on every candidate, those last that the device cannot run.

    Raises:
        SelectionError: The measurements allow no choice, or nothing is within the limits.
    """
    selection = select(
        [
            Measurement(
                m.name,
                m.bytes,
                m.latency.of(rule.percentile),
                m.ratio,
                m.drop,
                runtime_bytes=m.demand.runtime_bytes,
                memory_bytes=m.demand.peak_bytes,
            )
            for m in evaluation.candidates
        ],
        reference=evaluation.reference,
        limits=Limits(
            max_drop=rule.max_drop,
            max_drop_bound=rule.max_drop_bound,
            max_bytes=_bytes(rule.max_model_mb),
            max_total_bytes=_bytes(rule.max_total_mb),
            max_memory_bytes=_bytes(rule.max_memory_mb),
        ),
        latency_tolerance=rule.latency_tolerance,
    )
    unable = [
        Verdict(m.name, "rejected", f"{evaluation.device} cannot run it: {m.problem}")
        for m in evaluation.not_run
        if m.name != "teacher"
    ]
    return replace(selection, verdicts=[*selection.verdicts, *unable])


def _bytes(megabytes: float | None) -> float | None:
    return None if megabytes is None else 1e6 * megabytes
