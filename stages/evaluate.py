"""Stage ``evaluate``: accuracy, latency and resource usage on the validation images."""

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
    """Measure all candidates and the teacher on every device, in separate processes."""
    from pipeline.data.prepared import open_prepared
    from pipeline.files import read_json, write_json
    from pipeline.measure.evaluate import EvaluationInputs, evaluate_devices
    from pipeline.measure.evaluation import write_table

    paths, evaluations = context.paths, []
    hosts = read_json(paths.reports / "hosts.json")
    shutil.rmtree(paths.evaluations, ignore_errors=True)
    inputs = EvaluationInputs(
        candidates=paths.candidates,
        teacher=paths.onnx / "teacher.onnx",
        data=open_prepared(paths.prepared),
        runtime=paths.runtime,
    )
    for evaluation in evaluate_devices(
        inputs, context.params.evaluate, hosts, paths.partial_evaluations, track
    ):
        record = {"host": hosts[evaluation.device], **asdict(evaluation)}
        write_json(paths.evaluations / f"{evaluation.device}.json", record)
        _log(context.log, evaluation)
        evaluations.append(evaluation)
    write_table(paths.reports / "candidates.csv", evaluations)


def _log(log: logging.Logger, evaluation: Evaluation) -> None:
    for m in evaluation.measured:
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
    reasons = {
        "converged": "at most evaluate.max_half_width",
        "max_rounds": "evaluate.max_rounds was reached",
        "time_limit": "evaluate.max_minutes was reached",
    }
    log.info(
        "%d rounds, latency ratios with a 95 %% CI half-width of up to %.1f %%: %s",
        evaluation.rounds,
        100 * evaluation.half_width,
        reasons[evaluation.ended],
    )
    log.info(
        "wrote reports/evaluations/%s.json: %d candidates",
        evaluation.device,
        len(evaluation.candidates),
    )


if __name__ == "__main__":
    evaluate()
