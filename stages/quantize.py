"""The candidates."""

from stages.command import Context, stage
from stages.console import track


@stage(
    reads="models/onnx/, models/qat/ (for method qat), data/prepared/ (training images, "
    "to calibrate; validation images, to see what int8 loses)",
    writes="models/candidates/ (a folder a candidate, candidates.json)",
)
def quantize(context: Context) -> None:
    """Make the candidates: the student for each runtime and precision."""
    from pipeline.data.prepared import open_prepared
    from pipeline.quantize import make_candidates
    from pipeline.quantize.calibration import draw_calibration
    from pipeline.quantize.validation import CandidateValidator

    params, place = context.params, context.place
    data = open_prepared(place.prepared)
    train, val = data.split("train"), data.split("val")
    made = make_candidates(
        {"dynamic": place.onnx / "student.onnx", 1: place.onnx / "student-b1.onnx"},
        params.quantize.candidates,
        draw_calibration(train, params.quantize.calibration_images, params.run.seed),
        place.candidates,
        track=track,
        judge=CandidateValidator(
            place.onnx / "student.onnx",
            val.images,
            val.labels,
            max_drop=params.bundle.max_drop,
            max_drop_bound=params.bundle.max_drop_bound,
            threads=params.evaluate.threads,
        ),
        ladder=params.quantize.mixed_precision,
        recovered={
            "dynamic": place.qat / "student.onnx",
            1: place.qat / "student-b1.onnx",
        },
    )
    for ladder in made.ladders:
        context.log.info(
            "%s loses %.2f points (95 %% interval up to %.2f); %s",
            ladder.candidate,
            ladder.drop.points,
            ladder.drop.high,
            ladder.outcome,
        )
    sizes = ", ".join(f"{made.name} {made.bytes / 1e6:.2f} MB" for made in made.candidates)
    context.log.info("wrote models/candidates: %s", sizes)


if __name__ == "__main__":
    quantize()
