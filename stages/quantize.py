"""Stage ``quantize``: makes the candidates."""

from stages.command import Context, stage
from stages.console import track


@stage(
    reads="models/onnx/, models/qat/ (for method qat), data/prepared/ (training images for "
    "calibration; validation images for the accuracy drop of int8)",
    writes="models/candidates/ (one folder per candidate, candidates.json)",
)
def quantize(context: Context) -> None:
    """Make the candidates: the student for each runtime and precision."""
    from pipeline.data.prepared import open_prepared
    from pipeline.quantize.candidates import FilesByBatch, make_candidates, sample_calibration
    from pipeline.quantize.mixed_precision import SearchSetup
    from pipeline.quantize.validation import CandidateValidator

    params, paths = context.params, context.paths
    data = open_prepared(paths.prepared)
    val = data.split("val")
    exported: FilesByBatch = {
        "dynamic": paths.onnx / "student.onnx",
        1: paths.onnx / "student-b1.onnx",
    }
    validator = CandidateValidator(
        exported["dynamic"], val.images, val.labels, params.bundle, params.evaluate.threads
    )
    made = make_candidates(
        exported,
        params.quantize.candidates,
        sample_calibration(
            data.split("train"), params.quantize.calibration_images, params.run.seed
        ),
        paths.candidates,
        track,
        search=SearchSetup(validator, params.quantize.mixed_precision),
        qat={batch: paths.qat / path.name for batch, path in exported.items()},
    )
    for search in made.mixed_precision:
        context.log.info(
            "%s has an accuracy drop of %.2f points (95 %% CI up to %.2f); mixed precision: %s",
            search.candidate,
            search.drop.points,
            search.drop.high,
            search.outcome,
        )
    sizes = ", ".join(f"{c.name} {c.bytes / 1e6:.2f} MB" for c in made.candidates)
    context.log.info("wrote models/candidates: %s", sizes)


if __name__ == "__main__":
    quantize()
