"""The report page."""

from dataclasses import replace

from stages.command import Context, stage


@stage(
    reads="reports/ (evaluation, verify, answers, parity, teacher, student and their histories), "
    "dist/, models/teacher/model.json, models/student/model.json, "
    "models/candidates/candidates.json, "
    "models/qat/qat.json (for method qat), data/prepared/ (test), the last commit",
    writes="reports/index.html, reports/metrics.json",
)
def report(context: Context) -> None:
    """Write the report page and the metrics of the selected model."""
    from pipeline.files import atomic_file, write_json
    from pipeline.report.metrics import run_metrics
    from pipeline.report.page import render
    from pipeline.report.reading import ReportInputs, read_facts
    from stages.last_run import read_last_run

    paths = context.paths
    facts = read_facts(
        ReportInputs(
            prepared=paths.prepared,
            teacher=paths.teacher,
            student=paths.student,
            qat=paths.qat,
            candidates=paths.candidates,
            reports=paths.reports,
            manifest=paths.dist / "manifest.json",
        )
    )
    facts = replace(facts, last_run=read_last_run(paths.root))
    with atomic_file(paths.reports / "index.html") as temporary:
        temporary.write_text(render(facts), encoding="utf-8")
    metrics = run_metrics(facts)
    write_json(paths.reports / "metrics.json", metrics)
    context.log.info(
        "wrote reports/index.html: shipped %s (verdict: %s), test accuracy %.1f %%, "
        "p50 latency %.3f ms, %.2f MB",
        facts.shipped.name,
        facts.manifest.verdict or "none",
        100 * metrics["test_accuracy"],
        metrics["p50_ms"],
        metrics["model_mb"],
    )


if __name__ == "__main__":
    report()
