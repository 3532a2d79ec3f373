"""Latency of untrained students."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from stages.command import Context, stage
from stages.console import echo, track

if TYPE_CHECKING:
    from pipeline.params import Scout
    from pipeline.scout.measuring import Student


def _config() -> type[Scout]:
    from pipeline.params import Scout

    return Scout


@stage(
    reads="scout.yaml, data/prepared/ (training images) or the source of `prepare`",
    writes="reports/scout.json, .md and .html; measured students are kept in .finch/scout/",
    resumable=True,
    config=_config,
)
def scout(context: Context, config: Scout) -> None:
    """Find the largest untrained student within a latency budget.

    Latency is measured on this machine. The command can be interrupted and restarted at any time;
    measured students are not measured again.
    """
    from functools import partial

    from pipeline.errors import MeasurementError
    from pipeline.report.scouting import as_markdown, as_page
    from pipeline.scout.images import find_images
    from pipeline.scout.measuring import ScoutSetup
    from pipeline.scout.proposal import describe
    from pipeline.scout.scouting import scout_students
    from pipeline.training.device import prepare_torch

    params, paths = context.params, context.paths
    prepare_torch(params.run)
    setup = ScoutSetup(
        images=find_images(paths.prepared, params.prepare),
        candidates=params.quantize.candidates,
        opset=params.export.opset,
        scout=config,
        threads=params.evaluate.threads,
        runtime_folder=paths.runtime,
    )
    if setup.left_out:
        names = ", ".join(setup.left_out)
        context.log.warning("left out, since they need a trained student (method qat): %s", names)
    log = partial(_log, context.log)
    students = scout_students(setup, paths.scouted_students, track=track, on_measured=log)
    facts = describe(students, setup)
    paths.write_report("scout", facts, as_markdown(facts), as_page(facts))
    context.log.info("wrote reports/scout.json, .md and .html: %s", facts["verdict"])
    if facts["lines"]:
        echo(facts["lines"].rstrip("\n"))
    if not any(student.timings for student in students):
        raise MeasurementError("scout.models", "none can be measured", "see reports/scout.md")


def _log(log: logging.Logger, student: Student) -> None:
    from finch_runtime.image_size import in_pixels

    name = f"{student.model}, {in_pixels(student.image_size)}"
    if student.best is None:
        log.warning("%s: cannot be measured: %s", name, student.problem)
        return
    best, multiply_adds = student.best, (student.multiply_adds or 0) / 1e6
    log.info(
        f"{name}: p50 {best.p50_ms:.3f} ms (95 % CI {best.low_ms:.3f} to {best.high_ms:.3f}) as "
        f"{best.name}, {multiply_adds:.1f} M multiply-adds"
    )


if __name__ == "__main__":
    scout()
