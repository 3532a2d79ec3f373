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
    from pipeline.files import read_artifact, write_json
    from pipeline.measure.evaluate import evaluate_devices
    from pipeline.measure.evaluation import write_table
    from pipeline.measure.host import Host
    from pipeline.measure.models import EvaluationInputs

    paths, evaluations = context.paths, []
    hosts = read_artifact(paths.reports / "hosts.json", dict[str, Host])
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
        write_json(paths.evaluations / f"{evaluation.device}.json", asdict(evaluation))
        _log(context.log, evaluation)
        evaluations.append(evaluation)
    write_table(paths.reports / "candidates.csv", evaluations)


def _log(log: logging.Logger, evaluation: Evaluation) -> None:
    for m in evaluation.measured:
        latency = f"p50 {m.latency.p50_ms:.3f} ms ({m.ratio.value:.2f} x fp32)"
        size = f"{m.bytes / 1e6:.2f} MB"
        log.info("%-18s accuracy %.1f %%, %s, %s", m.name, 100 * m.accuracy, latency, size)
    for model in evaluation.not_run:
        log.warning("%-18s %s", model.name, model.problem)
    for note in evaluation.notes:
        log.warning("%s", note)
    reason = {
        "converged": "at most evaluate.max_half_width",
        "max_rounds": "evaluate.max_rounds was reached",
        "time_limit": "evaluate.max_minutes was reached",
    }[evaluation.ended]
    precision = f"95 % CI half-width of up to {100 * evaluation.half_width:.1f} %"
    log.info("%d rounds, latency ratios with a %s: %s", evaluation.rounds, precision, reason)
    count = len(evaluation.candidates)
    log.info("wrote reports/evaluations/%s.json: %d candidates", evaluation.device, count)


if __name__ == "__main__":
    evaluate()
