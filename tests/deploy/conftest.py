"""A tiny classifier in every format that the runtime reads, its closed form, and its bundle."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import finch_runtime
import numpy as np
import onnx
import pytest
from finch_runtime import telemetry
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

telemetry.turn_off()

SIZE = 8
LABELS = ("apple", "pear", "crème brûlée", "plum", "fig")

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class TinyModel:
    """logits = pixels @ weights + bias, over all pixels, so that swapped axes change the result."""

    weights: Array
    bias: Array
    folder: Path

    def logits(self, images: Array) -> Array:
        flat = images.reshape(len(images), -1).astype(np.float64)
        logits: Array = flat @ self.weights + self.bias
        return logits

    def probabilities(self, images: Array) -> Array:
        logits = self.logits(images)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: Array = exponentials / exponentials.sum(axis=1, keepdims=True)
        return probabilities

    def path(self, runtime: str, batch: str) -> Path:
        return self.folder / batch / ("model.onnx" if runtime == "onnxruntime" else "model.xml")


def write_onnx(
    path: Path,
    weights: Array,
    bias: Array,
    batch: int | str,
    channels: int = 3,
    height: int | None = None,
) -> None:
    pixels = len(weights) // channels
    height = height or math.isqrt(pixels)
    shape = [batch, height, pixels // height, channels]
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Flatten", ["float"], ["flat"], axis=1),
            helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, shape)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, len(bias)])
            for name in ("logits", "probabilities")
        ],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    import openvino

    rng = np.random.default_rng(0)
    weights = rng.normal(scale=1e-3, size=(SIZE * SIZE * 3, len(LABELS))).astype(np.float32)
    bias = rng.normal(size=len(LABELS)).astype(np.float32)
    folder = tmp_path_factory.mktemp("tiny")
    batches: dict[str, int | str] = {"dynamic": "batch", "fixed": 1}
    for kind, batch in batches.items():
        (folder / kind).mkdir()
        path = folder / kind / "model.onnx"
        write_onnx(path, weights, bias, batch)
        read = openvino.Core().read_model(path)
        openvino.save_model(read, path.with_suffix(".xml"), compress_to_fp16=False)
    return TinyModel(weights, bias, folder)


@pytest.fixture
def write_model() -> Callable[..., None]:
    """Writes a classifier with as many pixels as its weights have; square without a height."""
    return write_onnx


@pytest.fixture
def images() -> Array:
    return np.random.default_rng(1).integers(0, 256, (7, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture
def photos(tmp_path: Path, images: Array) -> list[Path]:
    """The first three images as PNG files."""
    paths = [tmp_path / f"photo{index}.png" for index in range(3)]
    for path, image in zip(paths, images, strict=False):
        Image.fromarray(image).save(path)
    return paths


@pytest.fixture
def make_bundle(tiny: TinyModel, tmp_path: Path) -> Callable[..., Path]:
    """Writes an unpacked bundle with the device runtime."""

    def make(runtime: str = "onnxruntime", batch: str = "fixed") -> Path:
        folder = tmp_path / f"bundle-{runtime}"
        folder.mkdir()
        model = tiny.path(runtime, batch)
        for path in [model] if model.suffix == ".onnx" else [model, model.with_suffix(".bin")]:
            shutil.copy(path, folder)
        shutil.copytree(
            Path(finch_runtime.__file__).parent,
            folder / "finch_runtime",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        (folder / "labels.txt").write_text("\n".join(LABELS) + "\n", encoding="utf-8")
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        manifest = {
            "format": 1,
            "name": "tiny",
            "model": {"path": model.name, "runtime": runtime, "precision": "fp32", "batch": batch},
            "input": {
                "name": "images",
                "dtype": "uint8",
                "layout": "NHWC",
                "color": "RGB",
                "height": SIZE,
                "width": SIZE,
                "fit": "crop",
            },
            "labels": LABELS,
            "threads": 1,
            "files": {
                path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in files
            },
        }
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder

    return make
