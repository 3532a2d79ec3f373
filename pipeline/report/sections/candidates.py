"""Measurements of all candidates on all devices, and the verdicts of the selection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from pipeline.measure.evaluation import Evaluation, Measured, NotRun
from pipeline.plugins import SECTIONS
from pipeline.report.facts import DeviceEvaluation, Facts
from pipeline.report.sections import section
from pipeline.report.table import Cell, Column, Row, Table, estimate, make_table, missing
from pipeline.report.templates import megabytes, percent, typeset

Verdict = Callable[[Measured], Mapping[str, Any] | None]


@SECTIONS.register("candidates")
@section("Candidates", order=10)
def candidates(facts: Facts) -> dict[str, Any]:
    """Rule of the selection, and one group of tables per device."""
    bundle = facts.params["bundle"]
    sizes = {
        "max_model_mb": "files",
        "max_total_mb": "files and runtime",
        "max_memory_mb": "memory",
    }

    def verdict(m: Measured) -> Mapping[str, Any] | None:
        return None if m is facts.measured_teacher else facts.verdict(m.name)

    return {
        "rule": bundle,
        "size_limits": [(text, bundle[key]) for key, text in sizes.items() if bundle[key]],
        "selected_on": _device(facts.selected_on, "Measurements of the candidates", verdict),
        "other_devices": [
            _device(each, f"Measurements on {each.evaluation.device}", lambda _: None)
            for each in facts.other_devices
        ],
    }


def _device(device: DeviceEvaluation, label: str, verdict: Verdict) -> dict[str, Any]:
    evaluation = device.evaluation
    models = evaluation.measured
    caption = f"{evaluation.device}: {device.host.cpu}, {evaluation.images:,} validation images"
    return {
        "measurements": replace(_measurements(models, label, evaluation, verdict), caption=caption),
        "details": _details(models, f"More measurements: {label}"),
        "threads": _threads(models, f"{label}, by number of threads"),
        "notes": evaluation.notes,
    }


def _measurements(
    models: Sequence[Measured], label: str, on: Evaluation, verdict: Verdict
) -> Table:
    def note(m: Measured) -> tuple[str, str] | None:
        found = verdict(m)
        return (found["status"].capitalize(), typeset(found["reason"])) if found else None

    def rate(m: Measured) -> Cell:
        best = m.throughput.best
        return (
            Cell(f"{best.images_per_s:.0f}", f"batch {best.batch}")
            if best
            else missing("not measured")
        )

    def drop(m: Measured) -> str | Cell:
        is_fp32 = m.name == on.reference
        return "0" if is_fp32 else estimate(m.drop.points, m.drop.low, m.drop.high)

    def ratio(m: Measured) -> str | Cell:
        is_fp32 = m.name == on.reference
        return "1" if is_fp32 else estimate(m.ratio.value, m.ratio.low, m.ratio.high)

    table = make_table(
        label,
        models,
        [
            Column("Candidate", _described, "runtime, precision, batch size", numeric=False),
            Column("Accuracy", lambda m: percent(m.accuracy), "%"),
            Column("Balanced accuracy", lambda m: percent(m.balanced_accuracy), "%"),
            Column("Accuracy drop vs. fp32", drop, "points, 95 % CI"),
            Column("p50 latency", lambda m: f"{m.latency.p50_ms:.3f}", "ms"),
            Column("Latency relative to fp32", ratio, "95 % CI"),
            Column("Throughput", rate, "images/s"),
            Column("Peak memory", lambda m: _memory(m.footprint.peak_bytes), "MB"),
            Column("Size", lambda m: megabytes(m.bytes), "MB"),
        ],
        highlighted=lambda m: (verdict(m) or {}).get("status") == "shipped",
        note=note,
    )
    not_run = [
        Row(
            [_described(m), *[missing("not measured")] * 7, megabytes(m.bytes)],
            note=("Cannot run", typeset(f"{on.device}: {m.problem}")),
        )
        for m in on.not_run
    ]
    return replace(table, rows=[*table.rows, *not_run])


def _details(models: Sequence[Measured], label: str) -> Table:
    columns: list[Column[Measured]] = [
        Column("Candidate", lambda m: m.name, numeric=False),
        Column("Agreement with fp32", lambda m: percent(m.agreement), "%"),
        Column("Top-5 accuracy", lambda m: percent(m.top5), "%"),
        Column(
            "Expected calibration error (ECE)", lambda m: percent(m.calibration_error), "points"
        ),
        Column("p90 latency", lambda m: f"{m.latency.p90_ms:.3f}", "ms"),
        Column("p99 latency", lambda m: f"{m.latency.p99_ms:.3f}", "ms"),
        Column("Load time", lambda m: f"{m.latency.load_ms:.3f}", "ms"),
        Column("First inference", lambda m: f"{m.latency.first_ms:.3f}", "ms"),
        Column("Baseline memory", lambda m: _memory(m.footprint.baseline_bytes), "MB"),
        Column("Energy", _energy, "mJ per inference"),
    ]
    if models[0].throughput.sustained:
        columns.append(Column("Slowdown in the sustained run", _slowdown, "%"))
    return make_table(label, models, columns)


def _threads(models: Sequence[Measured], label: str) -> Table | None:
    sweep = models[0].throughput.sweep
    columns = [Column(str(run.threads), partial(_threaded, at)) for at, run in enumerate(sweep)]
    candidate: Column[Measured] = Column("Candidate", lambda m: m.name, numeric=False)
    caption = "By number of threads: p50 latency in ms, and images/s at the best batch size"
    table = make_table(label, models, [candidate, *columns], caption=caption)
    return table if len(sweep) > 1 else None


def _threaded(at: int, m: Measured) -> Cell:
    run = m.throughput.sweep[at]
    rate = f"{run.best.images_per_s:.0f}/s, batch {run.best.batch}" if run.best else ""
    return Cell(f"{run.p50_ms:.3f}", rate)


def _described(m: Measured | NotRun) -> Cell:
    return Cell(m.name, f"{m.runtime}, {m.precision}, {m.batch}")


def _memory(count: int | None) -> str | Cell:
    return missing("not available on this system") if count is None else f"{count / 1e6:.0f}"


def _energy(m: Measured) -> str | Cell:
    energy = m.footprint.energy_mj
    return missing(m.footprint.energy_source) if energy is None else f"{energy:.3f}"


def _slowdown(m: Measured) -> str:
    return percent(m.throughput.sustained.slowdown if m.throughput.sustained else None)
