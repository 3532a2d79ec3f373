"""Stage qat: quantization-aware training of the student."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stages.command import Context, stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.data.prepared import Split
    from pipeline.params import Export
    from pipeline.qat.fake_quantize import FakeQuantizedClassifier


@stage(
    reads="models/student/, models/teacher/, data/teacher_logits/, data/prepared/",
    writes="models/qat/ (student.onnx, student-b1.onnx, qat.json); only qat.json if qat.epochs "
    "is 0",
)
def qat(context: Context) -> None:
    """Continue the distillation with fake quantization (QAT).

    Only needed for candidates with `method: qat`.
    """
    from pipeline.files import atomic_folder, hash_file, write_json
    from pipeline.qat.requirements import check_requirements, compile_kernels

    params, paths = context.params, context.paths
    if not params.qat.epochs:
        with atomic_folder(paths.qat) as folder:
            write_json(folder / "qat.json", {"epochs": 0})
        context.log.info("skipped, since qat.epochs is 0")
        return
    check_requirements()

    import torch

    from pipeline.export.onnx_metadata import MadeFrom, describe
    from pipeline.models.classifier import load_classifier
    from pipeline.models.record import read_student
    from pipeline.qat.fake_quantize import fake_quantize
    from pipeline.qat.training import train_qat
    from pipeline.quantize.calibration import sample_calibration
    from pipeline.training.distillation_inputs import open_distillation_inputs
    from stages.training import StageTraining

    recipe = params.qat.recipe(params.distill)
    inputs = open_distillation_inputs(
        params, recipe, paths.prepared, paths.teacher, paths.teacher_logits
    )
    data, teacher = inputs.data, inputs.cache_key.teacher
    record = read_student(
        paths.student, data.fingerprint, teacher=teacher, teacher_logits=inputs.cache_sha256
    )
    student, _ = load_classifier(paths.student, torch.device("cpu"))
    metadata = describe(
        student.spec, data.info.fit, MadeFrom(record.weights_sha256, data.fingerprint)
    )
    task = inputs.task
    compile_kernels()
    count, seed = params.quantize.calibration_images, params.run.seed
    train = data.split("train", task.image_size)
    quantized = fake_quantize(student, sample_calibration(train, count, seed))
    key_inputs = {**inputs.key_inputs, "nncf": version("nncf")}
    training = StageTraining(context, "qat", task, inputs.device, key_inputs)
    result = train_qat(student, quantized, training.run, task.val, inputs.device, recipe.keep_by)
    metrics = {name: value for name, value in vars(result).items() if name != "model"}
    with atomic_folder(paths.qat) as folder:
        parity = _export(result.model, folder, task.val, params.export, metadata)
        made = {
            "epochs": recipe.epochs,
            "method": recipe.method,
            "seed": seed,
            **metrics,
            "history": [asdict(epoch) for epoch in result.history],
            "parity": parity,
            "student": record.weights_sha256,
            "data": data.fingerprint,
            "cache": inputs.cache_sha256,
            "code": training.code,
            "files": {path.name: hash_file(path) for path in sorted(folder.iterdir())},
            "recipe": recipe.model_dump(),
            "nncf": version("nncf"),
            "torch": torch.__version__,
        }
        write_json(folder / "qat.json", made)
    training.clear_checkpoints()
    context.log.info(
        f"wrote models/qat: validation accuracy {result.accuracy_fp32:.1%} in fp32, "
        f"{result.accuracy_int8_initial:.1%} in int8 before and {result.accuracy_int8:.1%} after "
        f"training with {recipe.method}, epoch {result.best_epoch}"
    )


def _export(
    model: FakeQuantizedClassifier,
    folder: Path,
    val: Split,
    params: Export,
    metadata: Mapping[str, str],
) -> dict[str, Any]:
    """Writes a file with dynamic batch size and one with batch size 1; returns their parity."""
    from pipeline.export.parity import parity_images
    from pipeline.qat.parity import check_qdq_parity
    from pipeline.qat.qdq_export import export_qdq

    stripped, spec, images = model.strip(), model.spec, parity_images(val)
    batches: dict[str, Literal["dynamic", 1]] = {"student": "dynamic", "student-b1": 1}
    parity = {}
    for name, batch in batches.items():
        path = folder / f"{name}.onnx"
        export_qdq(stripped, spec, path, batch=batch, opset=params.opset, metadata=metadata)
        checked = check_qdq_parity(stripped, spec, path, images, tolerance=params.tolerance)
        parity[name] = asdict(checked)
    return parity


if __name__ == "__main__":
    qat()
