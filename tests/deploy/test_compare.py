"""Models in real processes that take turns."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from finch_runtime import compare as module
from finch_runtime.compare import compare
from finch_runtime.errors import RuntimeProblem
from finch_runtime.protocol import ComparePlan, CompareRequest, ModelSource

if TYPE_CHECKING:
    from conftest import TinyModel

Array = np.ndarray[Any, Any]


@pytest.fixture
def images_path(tmp_path: Path, images: Array) -> str:
    np.save(tmp_path / "images.npy", images)
    return str(tmp_path / "images.npy")


def request(models: list[ModelSource], images_path: str) -> CompareRequest:
    return CompareRequest(models, images_path, 1, ComparePlan(4, 3, 2, 0.0, 0))


def test_every_model_has_all_its_turns(tiny: TinyModel, images_path: str) -> None:
    models = [
        ModelSource(str(tiny.path("onnxruntime", "fixed")), "onnxruntime"),
        ModelSource(str(tiny.path("openvino", "dynamic")), "openvino"),
    ]
    result = compare(request(models, images_path))
    assert len(result.conditions) == 2
    for timing, model in zip(result.models, models, strict=True):
        assert [len(turn) for turn in timing.turns] == [3] * 4
        assert min(map(min, timing.turns)) > 0
        assert (timing.runtime, timing.threads) == (model.runtime, 1)
        assert timing.baseline_bytes and timing.peak_bytes and timing.runtime_bytes
        assert timing.peak_bytes > timing.baseline_bytes > 0
        assert timing.load_s > 0 and timing.first_s > 0
        assert timing.energy.source


def test_models_of_several_image_sizes_are_timed_with_their_own_images(
    images_path: str, tmp_path: Path, write_model: Callable[..., None]
) -> None:
    sources = []
    for size in (8, 12):
        model, own = tmp_path / f"{size}.onnx", tmp_path / f"{size}.npy"
        write_model(model, np.zeros((size * size * 3, 5), np.float32), np.zeros(5, np.float32), 1)
        np.save(own, np.zeros((3, size, size, 3), np.uint8))
        sources.append(ModelSource(str(model), "onnxruntime", str(own)))
    result = compare(request(sources, images_path))
    assert [len(timing.turns) for timing in result.models] == [4, 4]
    with pytest.raises(RuntimeProblem, match=r"12\.onnx: .*12"):
        compare(request([ModelSource(sources[1].path, "onnxruntime", sources[0].images)], "none"))


@pytest.mark.skipif(sys.platform != "linux", reason="VmHWM")
def test_memory_depends_neither_on_the_images_nor_on_the_warm_up(
    tmp_path: Path, write_model: Callable[..., None]
) -> None:
    model, images = tmp_path / "model.onnx", tmp_path / "images.npy"
    write_model(model, np.zeros((128 * 128 * 3, 5), np.float32), np.zeros(5, np.float32), 1)
    peaks = []
    for count in (10, 800):  # 0.5 MB, 39 MB; the warm-up runs each once
        np.save(images, np.zeros((count, 128, 128, 3), np.uint8))
        plan = ComparePlan(1, 1, count, 0.0, 0)
        source = ModelSource(str(model), "onnxruntime")
        (timing,) = compare(CompareRequest([source], str(images), 1, plan)).models
        peaks.append(timing.peak_bytes)
    few, many = peaks
    assert few is not None and many is not None
    assert abs(many - few) < 3e6


def test_every_other_pass_has_the_reverse_order(
    images_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    class FakeWorker:
        def __init__(self, model: ModelSource, _: object) -> None:
            self.name = model.path

        def wait(self) -> None:
            pass

        def take_turn(self) -> None:
            order.append(self.name)

        def measure_energy(self) -> None:
            pass

        def finish(self) -> None:
            pass

        def stop(self) -> None:
            pass

    monkeypatch.setattr(module, "_Worker", FakeWorker)
    compare(request([ModelSource(name, "none") for name in "abcde"], images_path))
    passes = [order[i : i + 5] for i in range(0, 20, 5)]
    assert all(sorted(each) == list("abcde") for each in passes)
    assert passes[1] == passes[0][::-1] and passes[3] == passes[2][::-1]
    assert passes[2] not in (passes[0], passes[1])


def test_a_model_that_cannot_be_opened_is_named_and_no_process_is_left(
    tiny: TinyModel, images_path: str, tmp_path: Path
) -> None:
    good, bad = str(tiny.path("onnxruntime", "fixed")), tmp_path / "bad.onnx"
    bad.write_bytes(b"not a model")
    models = [ModelSource(good, "onnxruntime"), ModelSource(str(bad), "onnxruntime")]
    with pytest.raises(RuntimeProblem) as caught:
        compare(request(models, images_path))
    assert caught.value.thing == str(bad)
    assert module.multiprocessing.active_children() == []


def test_a_process_that_is_killed_is_reported_with_its_model(
    tiny: TinyModel, images_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_turn = module._Worker.take_turn

    def kill(worker: module._Worker) -> None:
        os.kill(worker._process.pid or 0, 9)
        take_turn(worker)

    monkeypatch.setattr(module._Worker, "take_turn", kill)
    model = str(tiny.path("onnxruntime", "fixed"))
    with pytest.raises(RuntimeProblem, match=r"code -9.*memory") as caught:
        compare(request([ModelSource(model, "onnxruntime")], images_path))
    assert caught.value.thing == model
