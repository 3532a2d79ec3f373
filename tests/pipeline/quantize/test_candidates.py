from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import ArtefactError, QuantizationError
from pipeline.params import Candidate
from pipeline.progress import Item
from pipeline.quantize import CandidateSet, make_candidates

Images = NDArray[np.uint8]

DESCRIBED = [
    {"name": "a-student", "runtime": "openvino", "precision": "fp16", "batch": 1},
    {"name": "b-student", "runtime": "onnxruntime", "precision": "fp32", "batch": "dynamic"},
    {"name": "c-student", "runtime": "onnxruntime", "precision": "int8", "batch": "dynamic"},
    {"name": "d-student", "runtime": "openvino", "precision": "int8", "batch": "dynamic"},
]
CANDIDATES = [Candidate.model_validate(candidate) for candidate in DESCRIBED]
FP32 = CANDIDATES[1:2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models") / "candidates"


@pytest.fixture(scope="module")
def made(exported: dict[Any, Path], calibration: Images, folder: Path) -> CandidateSet:
    return make_candidates(exported, CANDIDATES, calibration, folder)


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def test_the_list_tells_what_is_there(made: CandidateSet, folder: Path) -> None:
    listed = json.loads((folder / "candidates.json").read_text())
    assert listed["reference"] == made.reference == "b-student"
    keys = ("name", "runtime", "precision", "batch")
    assert [{key: c[key] for key in keys} for c in listed["candidates"]] == DESCRIBED
    found = content(folder)
    del found["candidates.json"]
    assert {path: digest for c in listed["candidates"] for path, digest in c["files"].items()} == {
        path: hashlib.sha256(data).hexdigest() for path, data in found.items()
    }
    for candidate in listed["candidates"]:
        assert candidate["bytes"] == sum(len(found[path]) for path in candidate["files"])
        suffix = {"onnxruntime": "onnx", "openvino": "xml"}[candidate["runtime"]]
        assert candidate["model"] == f"{candidate['name']}/model.{suffix}"
        assert candidate["model"] in candidate["files"]


def test_result_and_list_say_the_same(made: CandidateSet, folder: Path) -> None:
    listed = json.loads((folder / "candidates.json").read_text())["candidates"]
    assert [(c.name, c.files, c.bytes) for c in made.candidates] == [
        (c["name"], c["files"], c["bytes"]) for c in listed
    ]


def test_the_folder_is_replaced_as_a_whole(
    exported: dict[Any, Path], calibration: Images, tmp_path: Path
) -> None:
    folder = tmp_path / "candidates"
    (folder / "of-yesterday").mkdir(parents=True)
    make_candidates(exported, FP32, calibration, folder)
    assert sorted(content(folder)) == ["b-student/model.onnx", "candidates.json"]
    assert list(tmp_path.iterdir()) == [folder]


def test_float_candidates_need_no_calibration(exported: dict[Any, Path], tmp_path: Path) -> None:
    nothing = np.empty((0, 32, 32, 3), np.uint8)
    made = make_candidates(exported, CANDIDATES[:2], nothing, tmp_path / "candidates")
    assert [c.name for c in made.candidates] == ["a-student", "b-student"]


def test_progress_is_told(exported: dict[Any, Path], calibration: Images, tmp_path: Path) -> None:
    told: list[Any] = []

    def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
        told.append(total)
        for item in items:
            told.append(item)
            yield item

    make_candidates(exported, FP32, calibration, tmp_path / "candidates", track)
    assert told == [1, *FP32]


@pytest.mark.parametrize(
    ("calibration", "said"),
    [
        (np.empty((0, 32, 32, 3), np.uint8), "c-student: there are no calibration images"),
        (np.zeros((4, 24, 28, 3), np.uint8), r"uint8 \[24, 28, 3\].* uint8 \[32, 32, 3\]"),
        (np.zeros((4, 32, 32, 3), np.float32), r"float32 \[32, 32, 3\].* uint8 \[32, 32, 3\]"),
    ],
)
def test_calibration_images_that_cannot_be_used(
    exported: dict[Any, Path], tmp_path: Path, calibration: NDArray[Any], said: str
) -> None:
    before = tmp_path / "candidates" / "of-yesterday"
    before.mkdir(parents=True)
    with pytest.raises(QuantizationError, match=said):
        make_candidates(exported, CANDIDATES, calibration, tmp_path / "candidates")
    assert before.exists()


def test_one_candidate_must_be_the_reference(
    exported: dict[Any, Path], calibration: Images, tmp_path: Path
) -> None:
    with pytest.raises(QuantizationError, match="no onnxruntime fp32"):
        make_candidates(exported, CANDIDATES[2:], calibration, tmp_path / "candidates")


def test_a_batch_that_was_not_exported(
    exported: dict[Any, Path], calibration: Images, tmp_path: Path
) -> None:
    dynamic = {"dynamic": exported["dynamic"]}
    with pytest.raises(QuantizationError, match=r"a-student: needs .* batch 1; .*dynamic"):
        make_candidates(dynamic, CANDIDATES, calibration, tmp_path / "candidates")  # type: ignore[arg-type]


@pytest.mark.parametrize(("length", "said"), [(None, "is missing"), (5000, "is truncated")])
def test_a_student_that_is_not_there_or_not_whole(
    exported: dict[Any, Path], calibration: Images, tmp_path: Path, length: int | None, said: str
) -> None:
    path = tmp_path / "student.onnx"
    if length is not None:
        path.write_bytes(exported["dynamic"].read_bytes()[:length])
    with pytest.raises(ArtefactError, match=rf"student\.onnx: {said}"):
        make_candidates({"dynamic": path}, FP32, calibration, tmp_path / "candidates")


ALONE = """
import json, socket, sys
from pathlib import Path

def refuse(*arguments, **options):
    print("network:", arguments, file=sys.stderr, flush=True)
    raise OSError("no network here")

socket.socket.connect = socket.socket.connect_ex = refuse
socket.getaddrinfo = socket.create_connection = refuse

import numpy as np
from pipeline.params import Candidate
from pipeline.quantize import make_candidates

order = json.load(sys.stdin)
make_candidates(
    {"dynamic": Path(order["dynamic"]), 1: Path(order["1"])},
    [Candidate.model_validate(candidate) for candidate in order["candidates"]],
    np.load(order["calibration"], allow_pickle=False),
    Path(order["folder"]),
)
"""


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_another_process_gives_the_same_bytes_and_tells_nobody(
    exported: dict[Any, Path],
    calibration: Images,
    made: CandidateSet,
    folder: Path,
    tmp_path: Path,
    runtime: str,
) -> None:
    # A process of its own: the runtimes report home when they are imported, from threads that
    # outlive the call, and not at all under pytest or in CI. They also leave an identity in HOME.
    home = tmp_path / "home"
    home.mkdir()
    np.save(tmp_path / "calibration.npy", calibration)
    described = [c for c in DESCRIBED if runtime == c["runtime"] or c["precision"] == "fp32"]
    order = {
        "dynamic": str(exported["dynamic"]),
        "1": str(exported[1]),
        "candidates": described,
        "calibration": str(tmp_path / "calibration.npy"),
        "folder": str(tmp_path / "candidates"),
    }
    kept = ("PATH", "LD_LIBRARY_PATH", "OMP_NUM_THREADS")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    process = subprocess.run(
        [sys.executable, "-c", ALONE],
        input=json.dumps(order),
        env={**environment, "HOME": str(home), "PYTHONHASHSEED": "17"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
    assert list(home.rglob("*")) == []
    for candidate in described:
        name = str(candidate["name"])
        assert content(tmp_path / "candidates" / name) == content(folder / name)
