"""The page."""

from stages.command import Context, stage


@stage(
    reads="reports/ (evaluation, verify, parity, teacher, student and their histories), "
    "dist/manifest.json, models/student/model.json, models/candidates/candidates.json, "
    "models/qat/qat.json (for method qat), data/prepared/dataset.json",
    writes="reports/index.html, reports/metrics.json",
)
def report(context: Context) -> None:
    """Show what shipped, why, and what was lost and won."""
    from pipeline.files import whole_file, write_json
    from pipeline.report.facts import read_facts, summary
    from pipeline.report.page import render

    place = context.place
    facts = read_facts(
        prepared=place.prepared,
        student=place.student,
        recovered=place.qat,
        candidates=place.candidates,
        reports=place.reports,
        manifest=place.dist / "manifest.json",
    )
    page = render(facts)
    with whole_file(place.reports / "index.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    figures = summary(facts)
    write_json(place.reports / "metrics.json", figures)
    context.log.info(
        "wrote reports/index.html: %s ships, test accuracy %.1f %% (fp32 student %.1f %%, teacher "
        "%.1f %%), p50 %.3f ms, %.2f MB; %.1f times faster and %.1f times smaller than the teacher",
        facts.shipped.name,
        100 * figures["test_accuracy"],
        100 * figures["test_accuracy_student"],
        100 * figures["test_accuracy_teacher"],
        figures["p50_ms"],
        figures["model_bytes"] / 1e6,
        figures["speed_up"],
        figures["times_smaller"],
    )


if __name__ == "__main__":
    report()
