"""Models in real processes that take turns."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from finch_runtime import side_by_side
from finch_runtime.errors import RuntimeProblem
from finch_runtime.side_by_side import Work, time_side_by_side

if TYPE_CHECKING:
    from conftest import TinyModel

Array = np.ndarray[Any, Any]


@pytest.fixture
def work(tmp_path: Path, images: Array) -> Work:
    np.save(tmp_path / "images.npy", images)
    return Work(tmp_path / "images.npy", 1, turns=4, runs=3, warmup=2, warmup_s=0.0, seed=0)


def test_every_model_has_all_its_turns(tiny: TinyModel, work: Work) -> None:
    models = [
        (tiny.path("onnxruntime", "fixed"), "onnxruntime"),
        (tiny.path("openvino", "dynamic"), "openvino"),
    ]
    record = time_side_by_side(models, work)
    assert len(record["conditions"]) == 2
    for found, (_, runtime) in zip(record["models"], models, strict=True):
        assert [len(turn) for turn in found["turns"]] == [3] * 4
        assert min(map(min, found["turns"])) > 0
        assert (found["runtime"], found["threads"]) == (runtime, 1)
        assert found["peak_bytes"] > found["bare_bytes"] > 0
        assert found["load_s"] > 0 and found["first_s"] > 0
        assert "source" in found["energy"]


def test_turns_alternate_and_go_backwards_every_other_time(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    class Noting:
        def __init__(self, path: Path, *_: object) -> None:
            self.name = path.name

        def take_turn(self) -> None:
            order.append(self.name)

        def finish(self) -> dict[str, Any]:
            return {}

        def end(self) -> None:
            pass

    monkeypatch.setattr(side_by_side, "_Worker", Noting)
    time_side_by_side([(Path(name), "none") for name in "abcde"], work)
    rounds = [order[i : i + 5] for i in range(0, 20, 5)]
    assert all(sorted(each) == list("abcde") for each in rounds)
    assert rounds[1] == rounds[0][::-1] and rounds[3] == rounds[2][::-1]
    assert rounds[2] not in (rounds[0], rounds[1])


def test_a_model_that_cannot_be_opened_is_named_and_nothing_is_left_running(
    tiny: TinyModel, work: Work, tmp_path: Path
) -> None:
    good, bad = tiny.path("onnxruntime", "fixed"), tmp_path / "bad.onnx"
    bad.write_bytes(b"no model")
    with pytest.raises(RuntimeProblem) as caught:
        time_side_by_side([(good, "onnxruntime"), (bad, "onnxruntime")], work)
    assert caught.value.thing == bad
    assert side_by_side.multiprocessing.active_children() == []


def test_a_process_that_dies_is_told_with_its_model(
    tiny: TinyModel, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_turn = side_by_side._Worker.take_turn

    def kill(worker: side_by_side._Worker) -> None:
        os.kill(worker._process.pid or 0, 9)
        take_turn(worker)

    monkeypatch.setattr(side_by_side._Worker, "take_turn", kill)
    model = tiny.path("onnxruntime", "fixed")
    with pytest.raises(RuntimeProblem, match="ended with code -9; see whether there is memory"):
        time_side_by_side([(model, "onnxruntime")], work)
