"""Accuracy and latency of every candidate, on the validation images."""

import logging
import shutil
from dataclasses import asdict

from pipeline.measure.evaluation import Evaluation
from stages.command import Context, stage
from stages.console import track


@stage(
    reads="models/candidates/, models/onnx/teacher.onnx, data/prepared/ (validation), "
    "reports/hosts.json",
    writes="reports/evaluations/<device>.json, reports/candidates.csv",
)
def evaluate(context: Context) -> None:
    """Measure every candidate and the teacher on every device, each in its own process."""
    from pipeline.data.prepared import open_prepared
    from pipeline.files import read_json, write_json
    from pipeline.measure.evaluation import write_table
    from pipeline.measure.survey import survey

    place, evaluations = context.place, []
    hosts = read_json(place.reports / "hosts.json")
    shutil.rmtree(place.evaluations, ignore_errors=True)
    for evaluation in survey(
        place.candidates,
        place.onnx / "teacher.onnx",
        open_prepared(place.prepared),
        context.params.evaluate,
        hosts,
        runtime_folder=place.runtime,
        kept=place.evaluating,
        track=track,
    ):
        told = {"host": hosts[evaluation.device], **asdict(evaluation)}
        write_json(place.evaluations / f"{evaluation.device}.json", told)
        _tell(context.log, evaluation)
        evaluations.append(evaluation)
    write_table(place.reports / "candidates.csv", evaluations)


def _tell(log: logging.Logger, evaluation: Evaluation) -> None:
    for m in (*evaluation.candidates, *filter(None, [evaluation.teacher])):
        log.info(
            "%-18s accuracy %.1f %%, p50 %.3f ms (%.2f x fp32), %.2f MB",
            m.name,
            100 * m.accuracy,
            m.latency.p50_ms,
            m.ratio.value,
            m.bytes / 1e6,
        )
    for model in evaluation.not_run:
        log.warning("%-18s %s", model.name, model.problem)
    for note in evaluation.notes:
        log.warning("%s", note)
    log.info(
        "%d rounds; the ratios are certain to %.1f %%, %s",
        evaluation.rounds,
        100 * evaluation.uncertainty,
        {
            "settled": "as wanted",
            "rounds": "and more rounds are not allowed (evaluate.max_rounds)",
            "time": "and the time is over (evaluate.minutes)",
        }[evaluation.ended],
    )
    log.info(
        "wrote reports/evaluations/%s.json: %d candidates",
        evaluation.device,
        len(evaluation.candidates),
    )


if __name__ == "__main__":
    evaluate()
