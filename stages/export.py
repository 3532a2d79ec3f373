"""Stage ``export``: PyTorch to ONNX."""

from dataclasses import asdict
from typing import Literal

from pipeline.errors import ArtifactError
from stages.command import Context, stage
from stages.console import track


@stage(
    reads="models/teacher/, models/student/, data/prepared/ (validation images)",
    writes="models/onnx/ (teacher.onnx, student.onnx, student-b1.onnx), reports/parity.json",
)
def export(context: Context) -> None:
    """Export teacher and student to ONNX, and check the files.

    Their logits are compared with those of PyTorch on validation images.
    """
    import torch

    from pipeline.data.prepared import open_prepared
    from pipeline.export.onnx_export import export_onnx
    from pipeline.export.onnx_metadata import MadeFrom, describe
    from pipeline.export.parity import check_parity, normalize_images, parity_images
    from pipeline.files import atomic_folder, write_json
    from pipeline.models.classifier import WEIGHTS, load_classifier
    from pipeline.models.record import read_student, read_teacher
    from pipeline.models.reparameterize import inference_form

    params, paths = context.params.export, context.paths
    data = open_prepared(paths.prepared)
    teacher = read_teacher(paths.teacher, data.fingerprint)
    student = read_student(paths.student, data.fingerprint, teacher=teacher.sha256)
    sources = {
        "teacher": (paths.teacher, teacher),
        "student": (paths.student, student),
        "student-b1": (paths.student, student),
    }
    for source, _ in sources.values():  # before any of them is exported, which takes minutes
        if not (source / WEIGHTS).is_file():
            raise ArtifactError(source / WEIGHTS, "is missing")
    report = {}
    with atomic_folder(paths.onnx) as folder:
        for name, (source, record) in track(sources.items(), "exporting", len(sources)):
            model, _ = load_classifier(source, torch.device("cpu"))
            made_from = MadeFrom(record.weights_sha256, data.fingerprint)
            metadata = describe(model.spec, data.info.fit, made_from)
            spec, path = model.spec, folder / f"{name}.onnx"
            images = parity_images(data.split("val", spec.image_size))
            form = inference_form(model.backbone, normalize_images(images, spec))
            if form.problem:
                context.log.warning("%s: exported in its training form: %s", name, form.problem)
            batch: Literal["dynamic", 1] = 1 if name == "student-b1" else "dynamic"
            network, opset = form.network, params.opset
            export_onnx(network, spec, path, batch=batch, opset=opset, metadata=metadata)
            parity = check_parity(network, spec, path, images, tolerance=params.tolerance)
            report[name] = {**asdict(parity), "reparameterized": form.difference}
            batches = ", ".join(str(difference.batch) for difference in parity.differences)
            message = "%s: logits differ from PyTorch by up to %.1e of the largest, at batch %s"
            context.log.info(message, path.name, parity.worst.relative, batches)
            if form.difference is not None:
                message = "%s: reparameterized; logits differ from the training form by up to %.1e"
                context.log.info(message, path.name, form.difference)
    write_json(paths.reports / "parity.json", report)
    context.log.info("wrote models/onnx: %s", ", ".join(f"{name}.onnx" for name in sources))


if __name__ == "__main__":
    export()
