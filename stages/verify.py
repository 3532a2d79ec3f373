"""Stage ``verify``: the acceptance test on the test split."""

from dataclasses import asdict

from stages.command import Context, stage
from stages.console import track


@stage(
    reads="dist/, models/onnx/ (teacher and fp32 student), data/prepared/ (test, and "
    "validation for the temperature)",
    writes="reports/verify.json, reports/test_answers.csv",
)
def verify(context: Context) -> None:
    """Evaluate the packed bundle on the test split.

    It is unpacked, and runs with its own copy of the device runtime. reports/test_answers.csv gets
    the three most probable classes of every test image, by shipped model, fp32 student and teacher.
    """
    from pipeline.data.prepared import open_prepared
    from pipeline.files import write_json
    from pipeline.shipping.verify import verify_bundle

    params, paths = context.params, context.paths
    verified = verify_bundle(
        paths.dist / f"{params.bundle.name}.tar.gz",
        manifest=paths.dist / "manifest.json",
        teacher=paths.onnx / "teacher.onnx",
        student=paths.onnx / "student.onnx",
        data=open_prepared(paths.prepared),
        runtime_folder=paths.runtime,
        answers=paths.reports / "test_answers.csv",
        track=track,
    )
    write_json(paths.reports / "verify.json", asdict(verified))
    context.log.info(
        "wrote reports/verify.json: accuracy on %d test images is %.1f %% (balanced %.1f %%); "
        "fp32 student %.1f %%, teacher %.1f %%",
        verified.images,
        100 * verified.shipped.accuracy,
        100 * verified.shipped.balanced_accuracy,
        100 * verified.student.accuracy,
        100 * verified.teacher.accuracy,
    )


if __name__ == "__main__":
    verify()
