"""What ships and why, and teacher, fp32 student and shipped model side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.measure.evaluation import Measured, ModelInfo, NotRun
from pipeline.report.artifacts import TrainingFigures
from pipeline.report.document import Block, blocks
from pipeline.report.facts import Facts, summary
from pipeline.report.formats import TIMES, drop, megabytes, percent
from pipeline.report.front import accuracy_estimate
from pipeline.report.table import Cell, missing
from pipeline.shipping.verify import SplitMetrics


@dataclass(frozen=True)
class _Model:
    """A column: its heading with a second line, and the figures below."""

    heading: Cell
    scored: SplitMetrics
    info: ModelInfo
    figures: TrainingFigures


def sentences(facts: Facts) -> tuple[str, str, str]:
    """What ships, how it compares with what it was made from, and why it was selected."""
    verified, shipped, device = facts.verified, facts.shipped, facts.evaluation.device
    accuracy = accuracy_estimate(verified.shipped.accuracy, verified.images)
    beside = [f"{drop(verified.drop_to_teacher)} vs. the teacher, {facts.teacher.recipe.model}"]
    if not facts.ships_fp32:
        beside.append(f"{drop(verified.drop_to_student)} vs. the fp32 student")
    ratios = ", ".join(text for text in _ratios(facts).values() if text)
    itself = "The shipped file is the fp32 student. " if facts.ships_fp32 else ""
    return (
        f"{facts.manifest.name} ships {facts.student.recipe.model} in {shipped.precision} for "
        f"{shipped.runtime}: {accuracy.value:.1f} % of the {verified.images:,} test images are "
        f"classified correctly (95 % CI {accuracy.low:.1f} to {accuracy.high:.1f}), in "
        f"{shipped.latency.p50_ms:.3f} ms per image on {device} (p50).",
        f"{itself}It is {ratios} than the teacher; accuracy drop: {', '.join(beside)}.",
        f"Selected on the validation images: {facts.manifest.chosen.reason}.",
    )


def comparison(facts: Facts) -> Block:
    """A table with one column per model and one row per figure."""
    verified, student = facts.verified, facts.student.figures
    shipped_as = "the fp32 student" if facts.ships_fp32 else facts.shipped.precision
    models = [
        _Model(
            Cell("Teacher", facts.teacher.recipe.model),
            verified.teacher,
            facts.teacher_info,
            facts.teacher.figures,
        ),
        _Model(
            Cell("fp32 student", facts.student.recipe.model), verified.student, facts.fp32, student
        ),
        _Model(Cell("Shipped", shipped_as), verified.shipped, facts.shipped, student),
    ]
    if facts.ships_fp32:
        del models[1]
    ratios = _ratios(facts)
    cost = [f"{m.figures.multiply_adds / 1e6:.1f} M" for m in models]
    rows: list[tuple[str, list[str | Cell]]] = [
        ("Test accuracy", [_accuracy(m.scored, verified.images) for m in models]),
        ("p50 latency", _last([_p50(m.info, facts) for m in models], ratios["speed"])),
        ("Model size", _last([f"{megabytes(m.info.bytes)} MB" for m in models], ratios["size"])),
        ("Multiply-adds", _last(cost, ratios["cost"])),
        ("Peak memory", [_memory(m.info) for m in models]),
        ("Balanced accuracy", [f"{percent(m.scored.balanced_accuracy)} %" for m in models]),
        ("Parameters", [f"{m.figures.parameters / 1e6:.1f} M" for m in models]),
    ]
    caption = (
        f"Accuracy on {verified.images:,} test images, with its 95 % CI; latency and memory on "
        f"{facts.evaluation.device}, {facts.evaluation.host.cpu}. Ratios are to the teacher."
    )
    label = "Teacher, fp32 student and shipped model"
    return blocks.compared(label, [m.heading for m in models], rows, caption)


def _ratios(facts: Facts) -> dict[str, str]:
    """Latency, size and cost of the shipped model relative to the teacher; empty if unknown."""
    metrics = summary(facts)

    def than(ratio: str, more: str, less: str) -> str:
        if ratio not in metrics:
            return ""
        times, word = (metrics[ratio], more) if metrics[ratio] >= 1 else (1 / metrics[ratio], less)
        return f"{times:.1f}{TIMES} {word}"

    return {
        "speed": than("speedup", "faster", "slower"),
        "size": than("size_ratio", "smaller", "larger"),
        "cost": than("multiply_add_ratio", "cheaper", "costlier"),
    }


def _last(cells: Sequence[str | Cell], detail: str) -> list[str | Cell]:
    """The cells, with a second line in the last one."""
    last = cells[-1]
    text = last if isinstance(last, str) else last.text
    return [*cells[:-1], Cell(text, detail)]


def _accuracy(scored: SplitMetrics, images: int) -> Cell:
    found = accuracy_estimate(scored.accuracy, images)
    return Cell(f"{found.value:.1f} %", f"{found.low:.1f} to {found.high:.1f}")


def _p50(info: ModelInfo, facts: Facts) -> str | Cell:
    if isinstance(info, Measured):
        return f"{info.latency.p50_ms:.3f} ms"
    problem = info.problem if isinstance(info, NotRun) else "not measured"
    return Cell(missing(problem).text, f"{facts.evaluation.device} cannot run the teacher", problem)


def _memory(info: ModelInfo) -> str | Cell:
    peak = info.footprint.peak_bytes if isinstance(info, Measured) else None
    return missing("not measured") if peak is None else f"{peak / 1e6:.0f} MB"
