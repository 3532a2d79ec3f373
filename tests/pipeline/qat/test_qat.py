"""Recovery from end to end on a student of a second; needs a C++ compiler."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto

from pipeline import losses
from pipeline.export.onnx_export import export_onnx
from pipeline.params import QAT, Candidate, Views, load_params
from pipeline.qat.fake_quantize import FakeQuantized, fake_quantize
from pipeline.qat.parity import check_roundings
from pipeline.qat.qdq_export import export_qdq
from pipeline.qat.training import Recovered, recover
from pipeline.quantize import make_candidates
from pipeline.training.loop import Trained, train
from pipeline.training.teacher import CachedTeacher
from pipeline.training.validation import predict
from pipeline.views import make_views
from tests.pipeline.qat.conftest import CLASSES, CPU, SIZE, photographs, student
from tests.small_project import PROJECT

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("kernels")]

STILL = Views(
    crop_scale=1.0,
    crop_ratio=1.0,
    horizontal_flip=False,
    brightness=0.0,
    contrast=0.0,
)
TRAIN, VAL = photographs(96, seed=1), photographs(48, seed=2)
# The detail alone, without labels that would pull elsewhere: it is what has to come back.
DISTILL = load_params(PROJECT / "params.yaml").distill.changed(
    {
        "batch_size": 16,
        "figkd.weight": 1.0,
        "figkd.kd_share": 0.0,
        "figkd.label_weight": 0.0,
    }
)


@dataclass
class Run:
    start: FakeQuantized
    learned: FakeQuantized  # after the last epoch, whatever validation says
    recovered: Recovered
    objective: losses.Objective
    answers: np.ndarray

    def loss(self, model: FakeQuantized) -> dict[str, float]:
        """The objective on the very images and answers that it was trained on, and its parts."""
        logits = torch.from_numpy(predict(model, TRAIN, CPU))
        loss = self.objective(
            logits, torch.from_numpy(TRAIN.labels), torch.from_numpy(self.answers), 9.0
        )
        return {"loss": float(loss.total), **{n: float(v) for n, v in loss.parts.items()}}


def run(seed: int, method: str = "figkd", epochs: int = 4) -> Run:
    """The teacher is the student itself before int8, so that all it can teach is what was lost."""
    model = student(seed)
    places = np.arange(len(TRAIN))
    with torch.inference_mode():
        answers = model(make_views(TRAIN.images, places, 0, STILL, CPU)).numpy().copy()
    recipe = QAT(epochs=epochs, method=method, lr=0.002).recipe(DISTILL)
    objective = losses.build(recipe, CLASSES, list(range(CLASSES)))
    start = fake_quantize(model, np.array(TRAIN.images[:32]))
    learn = partial(
        train,
        objective=objective,
        recipe=recipe.model_copy(update={"keep": "last"}),
        train_split=TRAIN,
        val_split=VAL,
        views=STILL,
        device=CPU,
        seed=seed,
        teacher=CachedTeacher(answers[None]),
    )
    learned = []

    def learn_and_note(quantized: FakeQuantized) -> Trained:
        trained = learn(quantized)
        learned.append(copy.deepcopy(quantized))
        return trained

    recovered = recover(model, copy.deepcopy(start), learn_and_note, VAL, CPU)
    return Run(start, *learned, recovered, objective, answers)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    done, folder = run(seed=0), tmp_path_factory.mktemp("recovered")
    for name, batch in (("student", "dynamic"), ("student-b1", 1)):
        write(done.recovered.model, folder / f"{name}.onnx", batch)
    return done, folder


def write(model: FakeQuantized, path: Path, batch: Any) -> None:
    spec = model.spec
    export_qdq(model.native(), spec.mean, spec.std, SIZE, path, batch=batch, opset=18)


@pytest.mark.parametrize("name", ["student", "student-b1"])
def test_the_file_computes_what_training_saw(exported: tuple[Run, Path], name: str) -> None:
    done, folder = exported
    model, path = done.recovered.model, folder / f"{name}.onnx"
    images = np.array(VAL.images)
    # Contract, batch sizes and softmax, against torch's own fake quantisation.
    mean, std = model.spec.mean, model.spec.std
    check_roundings(model.native(), mean, std, path, images, tolerance=1e-5)
    # And against NNCF's, which is what learned.
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    size = 1 if name == "student-b1" else 16
    parts = [
        session.run(["logits"], {"images": images[i : i + size]})[0]
        for i in range(0, len(images), size)
    ]
    expected = predict(model, VAL, CPU)
    assert np.abs(np.concatenate(parts) - expected).max() <= 0.02 * np.abs(expected).max()


def test_weights_are_stored_in_eight_bits(exported: tuple[Run, Path]) -> None:
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


def test_training_brings_back_what_int8_took() -> None:
    """For every seed of student and of batches, so that it is no lucky one."""
    before, after = zip(
        *((r.loss(r.start), r.loss(r.learned)) for r in map(run, range(5))), strict=True
    )
    lost = np.array([b["detail"] for b in before])
    left = np.array([a["detail"] for a in after])
    assert (left < lost).all(), (lost, left)


def test_what_is_worse_than_the_start_is_not_kept() -> None:
    model = student(3)
    start = fake_quantize(model, np.array(TRAIN.images[:32]))
    expected = predict(copy.deepcopy(start), VAL, CPU)
    recipe = QAT(epochs=2, method="cross_entropy", lr=30.0).recipe(DISTILL)

    def spoil(quantized: FakeQuantized) -> Any:
        # Judged by labels that the start gets right.
        return train(
            quantized,
            losses.build(recipe, CLASSES, list(range(CLASSES))),
            recipe.model_copy(update={"lr": 0.5, "clip_norm": 1.0}),
            TRAIN,
            told,
            STILL,
            device=CPU,
            seed=0,
        )

    told = type(VAL)(VAL.images, expected.argmax(1))
    recovered = recover(model, start, spoil, told, CPU)
    assert (recovered.epoch, recovered.accuracy) == (0, recovered.accuracy_quantized) == (0, 1.0)
    assert np.array_equal(predict(recovered.model, VAL, CPU), expected)


def test_the_same_call_gives_the_same_bytes(exported: tuple[Run, Path], tmp_path: Path) -> None:
    _, folder = exported
    for name, batch in (("student", "dynamic"), ("student-b1", 1)):
        write(run(seed=0).recovered.model, tmp_path / "again.onnx", batch)
        assert (tmp_path / "again.onnx").read_bytes() == (folder / f"{name}.onnx").read_bytes()


def test_candidates_of_both_runtimes_take_the_recovered_file(
    exported: tuple[Run, Path], tmp_path: Path
) -> None:
    import openvino

    done, folder = exported
    plain, spec = student(0), done.recovered.model.spec
    fp32 = tmp_path / "student.onnx"
    export_onnx(plain.backbone, spec.mean, spec.std, SIZE, fp32, batch="dynamic", opset=18)
    described = [("fp32", "onnxruntime"), ("int8", "onnxruntime"), ("int8", "openvino")]
    candidates = [
        Candidate(
            name=f"{runtime}-{precision}",
            runtime=runtime,  # type: ignore[arg-type]
            precision=precision,  # type: ignore[arg-type]
            method="qat" if precision == "int8" else "static",
        )
        for precision, runtime in described
    ]
    make_candidates(
        {"dynamic": fp32},
        candidates,
        np.empty((0, SIZE, SIZE, 3), np.uint8),
        tmp_path / "candidates",
        recovered={"dynamic": folder / "student.onnx"},
    )
    made = tmp_path / "candidates"
    taken = (made / "onnxruntime-int8/model.onnx").read_bytes()
    assert taken == (folder / "student.onnx").read_bytes()
    expected = predict(done.recovered.model, VAL, CPU)
    model = openvino.Core().compile_model(made / "openvino-int8/model.xml", "CPU")
    logits = model({"images": np.array(VAL.images)})["logits"]
    # OpenVINO rounds at other places.
    assert np.abs(logits - expected).max() <= 0.15 * np.abs(expected).max()
    assert (logits.argmax(1) == expected.argmax(1)).mean() >= 0.9
    assert (made / "openvino-int8/model.bin").stat().st_size < 0.5 * fp32.stat().st_size
