"""PyTorch to ONNX, with proof."""

from dataclasses import asdict

from stages.command import Context, stage
from stages.console import track


@stage(
    reads="models/teacher/, models/student/, data/prepared/ (validation images)",
    writes="models/onnx/ (teacher.onnx, student.onnx, student-b1.onnx), reports/parity.json",
)
def export(context: Context) -> None:
    """Export teacher and student to ONNX and prove that they compute the same."""
    import torch

    from pipeline.data.prepared import open_prepared
    from pipeline.export.onnx_export import export_onnx
    from pipeline.export.parity import check_parity, parity_images
    from pipeline.files import whole_folder, write_json
    from pipeline.models.classifier import load_classifier

    params, place = context.params.export, context.place
    data = open_prepared(place.prepared)
    images = parity_images(data.split("val"))
    jobs = (
        ("teacher", place.teacher, "dynamic"),
        ("student", place.student, "dynamic"),
        ("student-b1", place.student, 1),
    )
    report = {}
    with whole_folder(place.onnx) as folder:
        for name, source, batch in track(jobs, "exporting", len(jobs)):
            model, _ = load_classifier(source, torch.device("cpu"))
            path = folder / f"{name}.onnx"
            mean, std = model.spec.mean, model.spec.std
            export_onnx(
                model.backbone, mean, std, data.image_size, path, batch=batch, opset=params.opset
            )
            parity = check_parity(
                model.backbone, mean, std, path, images, tolerance=params.tolerance
            )
            report[name] = asdict(parity)
            context.log.info(
                "%s: at batch %s the logits differ from PyTorch's by at most %.1e of the largest",
                path.name,
                ", ".join(str(d.batch) for d in parity.differences),
                parity.worst.relative,
            )
    write_json(place.reports / "parity.json", report)
    context.log.info("wrote models/onnx: %s", ", ".join(f"{name}.onnx" for name, *_ in jobs))


if __name__ == "__main__":
    export()
