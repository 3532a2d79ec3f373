"""QAT end to end with a tiny student; needs a C++ compiler."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto

from pipeline.export.onnx_export import export_onnx
from pipeline.losses import build_loss
from pipeline.models.classifier import Classifier
from pipeline.params import QAT, Candidate, Views, load_params
from pipeline.qat.fake_quantize import FakeQuantizedClassifier, fake_quantize
from pipeline.qat.parity import check_qdq_parity
from pipeline.qat.qdq_export import export_qdq
from pipeline.qat.training import QATResult, train_qat
from pipeline.quantize.candidates import make_candidates
from pipeline.training.loop import TrainingResult, train
from pipeline.training.task import TrainingEnvironment, TrainingTask
from pipeline.training.teacher import CachedTeacher
from pipeline.training.validation import compute_logits
from pipeline.views import make_views
from tests.pipeline.qat.conftest import CLASSES, CPU, SIZE, random_split, student
from tests.small_project import PROJECT

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("kernels")]

NO_AUGMENTATION = Views(
    crop_scale=1.0,
    crop_ratio=1.0,
    horizontal_flip=False,
    brightness=0.0,
    contrast=0.0,
)
TRAIN, VAL = random_split(96, seed=1), random_split(48, seed=2)
# Only the detail term, which QAT must reduce.
DISTILL = load_params(PROJECT / "params.yaml").distill.changed(
    {
        "batch_size": 16,
        "figkd.detail_weight": 1.0,
        "figkd.kd_weight": 0.0,
        "figkd.label_weight": 0.0,
    }
)


@dataclass
class Run:
    start: FakeQuantizedClassifier
    last: FakeQuantizedClassifier  # after the last epoch, even if it is not the best
    result: QATResult
    task: TrainingTask
    teacher_logits: np.ndarray

    def terms(self, model: FakeQuantizedClassifier) -> dict[str, float]:
        """The terms of the loss on the training images."""
        logits = torch.from_numpy(compute_logits(model, TRAIN, CPU))
        terms = self.task.loss.terms(
            logits, torch.from_numpy(self.teacher_logits), torch.from_numpy(TRAIN.labels)
        )
        return {name: float(term) for name, term in terms.items()}


def run(seed: int, method: str = "figkd", epochs: int = 4) -> Run:
    """The teacher is the fp32 student, so the loss measures the quantization error."""
    model = student(seed)
    indices = np.arange(len(TRAIN))
    with torch.inference_mode():
        teacher_logits = (
            model(make_views(TRAIN.images, indices, 0, NO_AUGMENTATION, CPU)).numpy().copy()
        )
    recipe = QAT(epochs=epochs, method=method, lr=0.002).recipe(DISTILL)
    loss = build_loss(recipe, CLASSES)
    start = fake_quantize(model, np.array(TRAIN.images[:32]))
    settings = recipe.model_copy(update={"keep": "last"})
    task = TrainingTask(
        settings, loss, TRAIN, VAL, NO_AUGMENTATION, CachedTeacher(teacher_logits[None])
    )
    last = []

    def train_and_copy(quantized: Classifier) -> TrainingResult:
        result = train(quantized, task, TrainingEnvironment(CPU, seed))
        last.append(copy.deepcopy(quantized))
        return result

    result = train_qat(model, copy.deepcopy(start), train_and_copy, VAL, CPU)
    return Run(start, *last, result, task, teacher_logits)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    done, folder = run(seed=0), tmp_path_factory.mktemp("qat")
    for name, batch in (("student", "dynamic"), ("student-b1", 1)):
        write(done.result.model, folder / f"{name}.onnx", batch)
    return done, folder


def write(model: FakeQuantizedClassifier, path: Path, batch: Any) -> None:
    export_qdq(model.strip(), model.spec, path, batch=batch, opset=18)


@pytest.mark.parametrize("name", ["student", "student-b1"])
def test_exported_file_equals_the_trained_model(exported: tuple[Run, Path], name: str) -> None:
    done, folder = exported
    model, path = done.result.model, folder / f"{name}.onnx"
    images = np.array(VAL.images)
    # Inputs, outputs, batch sizes and softmax, compared with torch's fake quantization.
    check_qdq_parity(model.strip(), model.spec, path, images, tolerance=1e-5)
    # Logits, compared with NNCF's fake quantization, which was trained.
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    size = 1 if name == "student-b1" else 16
    parts = [
        session.run(["logits"], {"images": images[i : i + size]})[0]
        for i in range(0, len(images), size)
    ]
    expected = compute_logits(model, VAL, CPU)
    assert np.abs(np.concatenate(parts) - expected).max() <= 0.02 * np.abs(expected).max()


def test_weights_are_stored_as_int8(exported: tuple[Run, Path]) -> None:
    _, folder = exported
    graph = onnx.load(folder / "student.onnx").graph
    stored = {weights.name: weights for weights in graph.initializer}
    producer = {node.output[0]: node for node in graph.node}
    layers = [n for n in graph.node if n.op_type in ("Conv", "Gemm", "MatMul")]
    assert len(layers) == 5
    for layer in layers:
        weights = producer[layer.input[1]]
        assert weights.op_type == "DequantizeLinear"
        assert stored[weights.input[0]].data_type == TensorProto.INT8
        before = producer[layer.input[0]]
        while before.op_type in ("Flatten", "GlobalAveragePool", "ReduceMean", "Reshape"):
            before = producer[before.input[0]]
        assert before.op_type == "DequantizeLinear"


def test_training_reduces_the_quantization_error() -> None:
    """For five seeds of student and batches."""
    before, after = zip(
        *((r.terms(r.start), r.terms(r.last)) for r in map(run, range(5))), strict=True
    )
    initial = np.array([b["detail"] for b in before])
    final = np.array([a["detail"] for a in after])
    assert (final < initial).all(), (initial, final)


def test_initial_weights_are_kept_if_no_epoch_is_better() -> None:
    model = student(3)
    start = fake_quantize(model, np.array(TRAIN.images[:32]))
    expected = compute_logits(copy.deepcopy(start), VAL, CPU)
    recipe = QAT(epochs=2, method="cross_entropy", lr=30.0).recipe(DISTILL)

    # Validation with labels that the initial weights predict correctly.
    val = type(VAL)(VAL.images, expected.argmax(1))
    settings = recipe.model_copy(update={"lr": 0.5, "clip_norm": 1.0})
    task = TrainingTask(settings, build_loss(recipe, CLASSES), TRAIN, val, NO_AUGMENTATION)

    def train_badly(quantized: Classifier) -> TrainingResult:
        return train(quantized, task, TrainingEnvironment(CPU, 0))

    result = train_qat(model, start, train_badly, val, CPU)
    assert result.best_epoch == 0
    assert result.accuracy_int8 == result.accuracy_int8_initial == 1.0
    assert np.array_equal(compute_logits(result.model, VAL, CPU), expected)


def test_export_is_deterministic(exported: tuple[Run, Path], tmp_path: Path) -> None:
    _, folder = exported
    for name, batch in (("student", "dynamic"), ("student-b1", 1)):
        write(run(seed=0).result.model, tmp_path / "again.onnx", batch)
        assert (tmp_path / "again.onnx").read_bytes() == (folder / f"{name}.onnx").read_bytes()


def test_candidates_of_both_runtimes_use_the_exported_file(
    exported: tuple[Run, Path], tmp_path: Path
) -> None:
    import openvino

    done, folder = exported
    plain, spec = student(0), done.result.model.spec
    fp32 = tmp_path / "student.onnx"
    export_onnx(plain.backbone, spec, fp32, batch="dynamic", opset=18)
    variants = [("fp32", "onnxruntime"), ("int8", "onnxruntime"), ("int8", "openvino")]
    candidates = [
        Candidate(
            name=f"{runtime}-{precision}",
            runtime=runtime,  # type: ignore[arg-type]
            precision=precision,  # type: ignore[arg-type]
            method="qat" if precision == "int8" else "static",
        )
        for precision, runtime in variants
    ]
    make_candidates(
        {"dynamic": fp32},
        candidates,
        np.empty((0, SIZE, SIZE, 3), np.uint8),
        tmp_path / "candidates",
        qat={"dynamic": folder / "student.onnx"},
    )
    made = tmp_path / "candidates"
    copied = (made / "onnxruntime-int8/model.onnx").read_bytes()
    assert copied == (folder / "student.onnx").read_bytes()
    expected = compute_logits(done.result.model, VAL, CPU)
    model = openvino.Core().compile_model(made / "openvino-int8/model.xml", "CPU")
    logits = model({"images": np.array(VAL.images)})["logits"]
    # OpenVINO rounds differently.
    assert np.abs(logits - expected).max() <= 0.15 * np.abs(expected).max()
    assert (logits.argmax(1) == expected.argmax(1)).mean() >= 0.9
    assert (made / "openvino-int8/model.bin").stat().st_size < 0.5 * fp32.stat().st_size
