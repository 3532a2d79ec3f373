"""Accuracy and latency of every candidate, on the validation images."""

from dataclasses import asdict

from stages.command import Context, stage
from stages.console import track


@stage(
    reads="models/candidates/, models/onnx/teacher.onnx, data/prepared/ (validation), "
    "reports/hosts.json",
    writes="reports/evaluation.json, reports/candidates.csv",
)
def evaluate(context: Context) -> None:
    """Measure every candidate and the teacher, each in its own process."""
    from pipeline.data.prepared import open_prepared
    from pipeline.files import read_json, write_json
    from pipeline.measure.evaluation import evaluate_candidates, write_table

    params, place = context.params.evaluate, context.place
    evaluation = evaluate_candidates(
        place.candidates,
        place.onnx / "teacher.onnx",
        open_prepared(place.prepared),
        params,
        runtime_folder=place.runtime,
        track=track,
    )
    host = read_json(place.reports / "hosts.json")["local"]
    write_json(place.reports / "evaluation.json", {"host": host, **asdict(evaluation)})
    write_table(place.reports / "candidates.csv", evaluation)
    for m in evaluation.candidates:
        context.log.info(
            "%-18s accuracy %.1f %%, p50 %.3f ms (%.2f x fp32), %.2f MB",
            m.name,
            100 * m.accuracy,
            m.latency.p50_ms,
            m.ratio.value,
            m.bytes / 1e6,
        )
    context.log.info(
        "wrote reports/evaluation.json: %d candidates; the teacher has %.1f %% and p50 %.3f ms",
        len(evaluation.candidates),
        100 * evaluation.teacher.accuracy,
        evaluation.teacher.latency.p50_ms,
    )


if __name__ == "__main__":
    evaluate()
