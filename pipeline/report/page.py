"""The report as a self-contained HTML page. The same facts give the same bytes."""

from markupsafe import Markup

from pipeline.measure.evaluation import Measured, ModelInfo, NotRun
from pipeline.plugins import SECTIONS
from pipeline.report.artifacts import TrainingFigures
from pipeline.report.document import Page, Part, Section, blocks
from pipeline.report.facts import Facts, summary
from pipeline.report.formats import DASH, TIMES, drop, megabytes, percent
from pipeline.report.session_note import session_note
from pipeline.report.table import Cell, Column, Table, estimate, make_table, missing
from pipeline.shipping.verify import SplitMetrics
from pipeline.statistics import AccuracyDrop

_ARCHIVE = Markup(
    "The archive <code>{}.tar.gz</code> ({} MB) contains the model, its class names, a manifest "
    "and the device runtime. The test accuracy was measured with the unpacked archive alone."
)


def render(facts: Facts) -> str:
    """Renders a header and all registered sections, in their order."""
    sections = sorted((SECTIONS[name].order, name, SECTIONS[name]) for name in SECTIONS.names())
    manifest, size = facts.manifest, megabytes(facts.verified.bundle_bytes)
    return Page(
        kicker=f"{manifest.name}: shipped model{_level(facts)}",
        heading=facts.shipped.name,
        intro=[
            *_verdict(facts),
            blocks.paragraph(_lead(facts), "lead"),
            blocks.tiles(_tiles(facts)),
            *([blocks.paragraph(note)] if (note := session_note(facts.dataset)) else []),
            _models(facts),
            blocks.paragraph(_ARCHIVE.format(manifest.name, size)),
        ],
        sections=[Section(name, each.title, each.parts(facts)) for _, name, each in sections],
        footer=f"Written by {manifest.created_by}. All decisions are based on the validation "
        "images; only the acceptance test read the test images.",
    ).render()


def _level(facts: Facts) -> str:
    verdict = facts.manifest.verdict
    return f", verdict: {verdict.level}" if verdict else ""


def _verdict(facts: Facts) -> list[Part]:
    """Why the verdict is not ``pass``."""
    verdict = facts.manifest.verdict
    if verdict is None or not verdict.reasons:
        return []
    reasons = {each.name: f"{each.problem}. Remedy: {each.remedy}." for each in verdict.reasons}
    return [blocks.paragraph(f"Verdict: {verdict.level}", "warn"), blocks.terms(reasons)]


def _lead(facts: Facts) -> str:
    verified = facts.verified
    return (
        f"Selected on the validation images: {facts.manifest.chosen.reason}. Accuracy on the "
        f"{verified.images:,} test images, which no decision was based on: "
        f"{percent(verified.shipped.accuracy)} % for this model, "
        f"{percent(verified.student.accuracy)} % for the fp32 student, and "
        f"{percent(verified.teacher.accuracy)} % for the teacher. Accuracy drop vs. the fp32 "
        f"student: {drop(verified.drop_to_student)}; vs. the teacher: "
        f"{drop(verified.drop_to_teacher)}."
    )


def _tiles(facts: Facts) -> list[tuple[str, str, str]]:
    """Label, value and explanation of each tile."""
    metrics = summary(facts)

    def than_teacher(ratio: str, more: str, less: str) -> str:
        if ratio not in metrics:
            return f"{facts.evaluation.device} cannot run the teacher"
        times, word = (metrics[ratio], more) if metrics[ratio] >= 1 else (1 / metrics[ratio], less)
        return f"{times:.1f}{TIMES} {word} than the teacher"

    balanced = f"balanced accuracy {percent(metrics['test_balanced_accuracy'])} %"
    smaller, fewer = ("size_ratio", "smaller", "larger"), ("multiply_add_ratio", "fewer", "more")
    multiply_adds = f"{metrics['multiply_adds'] / 1e6:.1f} M"
    return [
        ("Test accuracy", f"{percent(metrics['test_accuracy'])} %", balanced),
        ("p50 latency", f"{metrics['p50_ms']:.3f} ms", than_teacher("speedup", "faster", "slower")),
        ("Model size", f"{megabytes(metrics['model_bytes'])} MB", than_teacher(*smaller)),
        ("Multiply-adds per image", multiply_adds, than_teacher(*fewer)),
    ]


def _models(facts: Facts) -> Table:
    """Shipped model, fp32 student and teacher."""
    verified, student, teacher = facts.verified, facts.student.figures, facts.teacher.figures
    shipped, drop_heading = f"shipped: {facts.shipped.name}", "Accuracy drop of the shipped model"
    models: list[tuple[str, SplitMetrics, AccuracyDrop | None, ModelInfo, TrainingFigures]] = [
        (shipped, verified.shipped, None, facts.shipped, student),
        ("fp32 student", verified.student, verified.drop_to_student, facts.fp32, student),
        ("teacher", verified.teacher, verified.drop_to_teacher, facts.teacher_info, teacher),
    ]

    def p50(m: ModelInfo) -> str | Cell:
        if isinstance(m, Measured):
            return f"{m.latency.p50_ms:.3f}"
        return missing(m.problem if isinstance(m, NotRun) else "not measured")

    return make_table(
        "Shipped model, fp32 student and teacher",
        models,
        [
            Column("Model", lambda m: m[0], numeric=False),
            Column("Accuracy", lambda m: percent(m[1].accuracy), "%"),
            Column("Balanced accuracy", lambda m: percent(m[1].balanced_accuracy), "%"),
            Column(drop_heading, lambda m: estimate(m[2]) if m[2] else DASH, "points, 95 % CI"),
            Column("p50 latency", lambda m: p50(m[3]), "ms"),
            Column("Size", lambda m: megabytes(m[3].bytes), "MB"),
            Column("Multiply-adds", lambda m: f"{m[4].multiply_adds / 1e6:.1f}", "million"),
            Column("Parameters", lambda m: f"{m[4].parameters / 1e6:.1f}", "million"),
        ],
        highlighted=lambda m: m[0] == shipped,
        caption=f"Accuracy on {verified.images:,} test images; "
        f"latency on {facts.evaluation.host.cpu}",
    )
