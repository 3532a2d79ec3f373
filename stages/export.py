"""Stage ``export``: PyTorch to ONNX."""

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from stages.command import Context, stage
from stages.console import track


@stage(
    reads="models/teacher/, models/student/, data/prepared/ (validation images)",
    writes="models/onnx/ (teacher.onnx, student.onnx, student-b1.onnx), reports/parity.json",
)
def export(context: Context) -> None:
    """Export teacher and student to ONNX, and compare the files with PyTorch."""
    import torch

    from pipeline.data.prepared import open_prepared
    from pipeline.export.onnx_export import export_onnx
    from pipeline.export.parity import check_parity, parity_images
    from pipeline.files import whole_folder, write_json
    from pipeline.models.classifier import load_classifier

    params, paths = context.params.export, context.paths
    data = open_prepared(paths.prepared)
    images = parity_images(data.split("val"))
    jobs: tuple[tuple[str, Path, Literal["dynamic", 1]], ...] = (
        ("teacher", paths.teacher, "dynamic"),
        ("student", paths.student, "dynamic"),
        ("student-b1", paths.student, 1),
    )
    report = {}
    with whole_folder(paths.onnx) as folder:
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
                "%s: logits differ from PyTorch by at most %.1e of the largest logit, at batch %s",
                path.name,
                parity.worst.relative,
                ", ".join(str(d.batch) for d in parity.differences),
            )
    write_json(paths.reports / "parity.json", report)
    context.log.info("wrote models/onnx: %s", ", ".join(f"{name}.onnx" for name, *_ in jobs))


if __name__ == "__main__":
    export()
