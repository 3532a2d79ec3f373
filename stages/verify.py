"""The acceptance test: the one reader of the test split."""

from dataclasses import asdict

from stages.command import Context, stage
from stages.console import track


@stage(
    reads="dist/, models/onnx/ (teacher and fp32 student), data/prepared/ (test)",
    writes="reports/verify.json",
)
def verify(context: Context) -> None:
    """Unpack the bundle and run it, by its own runtime, over the test images."""
    from pipeline.data.prepared import open_prepared
    from pipeline.files import write_json
    from pipeline.shipping.verify import verify_bundle

    params, place = context.params, context.place
    verified = verify_bundle(
        place.dist / f"{params.bundle.name}.tar.gz",
        teacher=place.onnx / "teacher.onnx",
        student=place.onnx / "student.onnx",
        data=open_prepared(place.prepared),
        runtime_folder=place.runtime,
        track=track,
    )
    write_json(place.reports / "verify.json", asdict(verified))
    context.log.info(
        "wrote reports/verify.json: on %d test images the bundle has %.1f %% (balanced %.1f %%), "
        "the fp32 student %.1f %%, the teacher %.1f %%",
        verified.images,
        100 * verified.shipped.accuracy,
        100 * verified.shipped.balanced_accuracy,
        100 * verified.student.accuracy,
        100 * verified.teacher.accuracy,
    )


if __name__ == "__main__":
    verify()
