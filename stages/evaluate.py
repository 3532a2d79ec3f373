"""Stage ``evaluate``: accuracy, latency and resource usage on the validation images."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ArtifactError
from stages.command import Context, stage
from stages.console import track

if TYPE_CHECKING:
    from pipeline.measure.evaluation import Evaluation
    from pipeline.measure.models import EvaluationInputs
    from pipeline.params import Evaluate


@stage(
    reads="models/candidates/, models/onnx/teacher.onnx, data/prepared/ (validation), "
    "reports/hosts.json",
    writes="reports/evaluations/<device>.json, reports/candidates.csv",
)
def evaluate(context: Context) -> None:
    """Measure all candidates and the teacher on every device.

    Every measurement runs in a process of its own. Earlier measurements are replaced when the new
    ones of their device are complete. Those of a device that `probe` could not reach are kept if
    models, images and device runtime are the same.
    """
    from pipeline.data.prepared import open_prepared
    from pipeline.files import write_json
    from pipeline.measure.evaluate import evaluate_devices
    from pipeline.measure.evaluation import write_table
    from pipeline.measure.host import Unreachable, read_hosts
    from pipeline.measure.models import EvaluationInputs, check_origin

    paths, params = context.paths, context.params.evaluate
    hosts = read_hosts(paths.reports / "hosts.json")
    inputs = EvaluationInputs(
        candidates=paths.candidates,
        teacher=paths.onnx / "teacher.onnx",
        data=open_prepared(paths.prepared),
        runtime=paths.runtime,
    )
    check_origin(inputs)
    evaluations: dict[str, Evaluation] = {}
    for evaluation in evaluate_devices(inputs, params, hosts, paths.partial_evaluations, track):
        for folder in (paths.evaluations, paths.earlier_evaluations):
            write_json(folder / f"{evaluation.device}.json", asdict(evaluation))
        _log(context.log, evaluation)
        evaluations[evaluation.device] = evaluation
    for device in params.devices:
        host = hosts[device.name]
        if isinstance(host, Unreachable):
            kept = _read_current(paths.earlier_evaluations / f"{device.name}.json", inputs, params)
            if kept:
                write_json(paths.evaluations / f"{device.name}.json", asdict(kept))
                evaluations[device.name] = kept
            fate = "its earlier measurements are kept" if kept else "it is left out"
            context.log.warning("%s: %s; %s", device.name, host.unreachable, fate)
    for path in paths.evaluations.glob("*.json"):
        if path.stem not in evaluations:
            path.unlink()
    measured = [evaluations[d.name] for d in params.devices if d.name in evaluations]
    write_table(paths.reports / "candidates.csv", measured)


def _read_current(
    path: Path, inputs: "EvaluationInputs", params: "Evaluate"
) -> "Evaluation | None":
    """Earlier measurements, if they are of the present inputs."""
    from pipeline.measure.evaluate import is_current
    from pipeline.measure.evaluation import read_evaluation

    try:
        earlier = read_evaluation(path)
    except ArtifactError:
        return None
    return earlier if is_current(earlier, inputs, params) else None


def _log(log: logging.Logger, evaluation: "Evaluation") -> None:
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
