"""Students measured before any training."""

import click

from stages.command import Context, stage
from stages.console import track


@stage(
    reads="data/prepared/ (training images), or the source that prepare.source names",
    writes="reports/scout.json, .md and .html; measured students stay in .finch/scout/",
    resumable=True,
    alone=True,
)
def scout(context: Context) -> None:
    """Find the largest student that is fast enough on this machine, before any training.

    May be interrupted and started again at any time: a student that was measured is not measured
    again.
    """
    from pipeline.errors import MeasurementError
    from pipeline.files import whole_file, write_json
    from pipeline.report.scouting import as_markdown, as_page
    from pipeline.scout.facts import describe
    from pipeline.scout.measuring import ScoutSetup, Student
    from pipeline.scout.photographs import find_photographs
    from pipeline.scout.scouting import scout_students
    from pipeline.scout.store import StudentStore
    from pipeline.training.device import prepare_torch

    params, place = context.params, context.place
    prepare_torch(params.run)
    bench = ScoutSetup(
        find_photographs(place.prepared, params.prepare),
        params.quantize.candidates,
        params.export.opset,
        params.scout,
        params.evaluate.threads,
        place.runtime,
    )

    def log(student: Student) -> None:
        what = f"{student.model}, {student.image_size} px"
        if student.best is None:
            context.log.warning("%s: cannot be measured: %s", what, student.problem)
            return
        context.log.info(
            "%s: p50 %.3f ms (%.3f to %.3f) by %s, %.1f M multiply-adds",
            what,
            student.best.p50_ms,
            student.best.low_ms,
            student.best.high_ms,
            student.best.name,
            (student.multiply_adds or 0) / 1e6,
        )

    students = scout_students(bench, StudentStore(place.scouted), track=track, on_done=log)
    facts = describe(students, bench)
    write_json(place.reports / "scout.json", facts)
    for name, text in (("scout.md", as_markdown(facts)), ("scout.html", as_page(facts))):
        with whole_file(place.reports / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    context.log.info("wrote reports/scout.json, .md and .html: %s", facts["verdict"])
    if facts["lines"]:
        click.echo(facts["lines"], nl=False)
    if not any(student.timings for student in students):
        raise MeasurementError(
            "scout.models", "none of them can be measured", "see reports/scout.md"
        )


if __name__ == "__main__":
    scout()
