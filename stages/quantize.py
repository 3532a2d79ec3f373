"""Stage ``quantize``: makes the candidates."""

from typing import Literal

from stages.command import Context, stage
from stages.console import track


@stage(
    reads="models/onnx/, reports/parity.json, models/qat/ (for method qat), data/prepared/ "
    "(training images for calibration; validation images for the accuracy drop of int8)",
    writes="models/candidates/ (one folder per candidate, candidates.json)",
)
def quantize(context: Context) -> None:
    """Convert the student to the candidates for deployment.

    A candidate is the student for one runtime in one precision.
    """
    from pipeline.data.prepared import open_prepared
    from pipeline.export.onnx_metadata import read_image_size
    from pipeline.quantize.calibration import sample_calibration
    from pipeline.quantize.candidates import make_candidates
    from pipeline.quantize.mixed_precision import SearchSetup
    from pipeline.quantize.sources import read_sources
    from pipeline.quantize.validation import CandidateValidator

    params, paths = context.params, context.paths
    settings, data = params.quantize, open_prepared(paths.prepared)
    uses_qat = any(candidate.method == "qat" for candidate in settings.candidates)
    sources = read_sources(
        paths.onnx,
        paths.reports / "parity.json",
        paths.qat if uses_qat else None,
        data.fingerprint,
    )
    size = read_image_size(paths.onnx / "student.onnx")
    train, val = data.split("train", size), data.split("val", size)
    names: dict[Literal["dynamic", 1], str] = {"dynamic": "student.onnx", 1: "student-b1.onnx"}
    validator = CandidateValidator(
        paths.onnx / "student.onnx", val.images, val.labels, params.bundle, params.evaluate.threads
    )
    made = make_candidates(
        {batch: paths.onnx / name for batch, name in names.items()},
        settings.candidates,
        sample_calibration(train, settings.calibration_images, params.run.seed),
        paths.candidates,
        track,
        search=SearchSetup(validator, settings.mixed_precision),
        qat={batch: paths.qat / name for batch, name in names.items()},
        made_from=sources,
    )
    for search in made.mixed_precision:
        message = "%s: %s drop %.2f points (one-sided 95 %% bound %.2f); mixed precision: %s"
        drop = search.drop
        figures = (drop.figure, drop.points, drop.bound)
        context.log.info(message, search.candidate, *figures, search.outcome)
    sizes = ", ".join(f"{c.name} {c.bytes / 1e6:.2f} MB" for c in made.candidates)
    context.log.info("wrote models/candidates: %s", sizes)


if __name__ == "__main__":
    quantize()
