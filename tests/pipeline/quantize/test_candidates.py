from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from pipeline.errors import ArtifactError, QuantizationError
from pipeline.params import Candidate
from pipeline.plugins import RUNTIMES
from pipeline.plugins.section import Section
from pipeline.progress import Item
from pipeline.quantize.candidates import CandidateSet, make_candidates
from pipeline.quantize.runtimes.base import CandidateRuntime

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


def test_candidates_json_lists_the_files(made: CandidateSet, folder: Path) -> None:
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


def test_the_result_equals_candidates_json(made: CandidateSet, folder: Path) -> None:
    listed = json.loads((folder / "candidates.json").read_text())["candidates"]
    assert [(c.name, c.files, c.bytes) for c in made.candidates] == [
        (c["name"], c["files"], c["bytes"]) for c in listed
    ]


def test_the_folder_is_replaced_as_a_whole(
    exported: dict[Any, Path], calibration: Images, tmp_path: Path
) -> None:
    folder = tmp_path / "candidates"
    (folder / "old").mkdir(parents=True)
    make_candidates(exported, FP32, calibration, folder)
    assert sorted(content(folder)) == ["b-student/model.onnx", "candidates.json"]
    assert list(tmp_path.iterdir()) == [folder]


def test_float_candidates_need_no_calibration(exported: dict[Any, Path], tmp_path: Path) -> None:
    nothing = np.empty((0, 32, 32, 3), np.uint8)
    made = make_candidates(exported, CANDIDATES[:2], nothing, tmp_path / "candidates")
    assert [c.name for c in made.candidates] == ["a-student", "b-student"]


def test_progress_is_reported(
    exported: dict[Any, Path], calibration: Images, tmp_path: Path
) -> None:
    reported: list[Any] = []

    def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
        reported.append(total)
        for item in items:
            reported.append(item)
            yield item

    make_candidates(exported, FP32, calibration, tmp_path / "candidates", track)
    assert reported == [1, *FP32]


@pytest.mark.parametrize(
    ("calibration", "expected"),
    [
        (
            np.empty((0, 32, 32, 3), np.uint8),
            "c-student: .*no calibration images.*quantize.calibration_images",
        ),
        (np.zeros((4, 24, 28, 3), np.uint8), r"uint8 \[24, 28, 3\].* uint8 \[32, 32, 3\]"),
        (np.zeros((4, 32, 32, 3), np.float32), r"float32 \[32, 32, 3\].* uint8 \[32, 32, 3\]"),
    ],
)
def test_calibration_images_that_cannot_be_used(
    exported: dict[Any, Path], tmp_path: Path, calibration: NDArray[Any], expected: str
) -> None:
    before = tmp_path / "candidates" / "old"
    before.mkdir(parents=True)
    with pytest.raises(QuantizationError, match=expected):
        make_candidates(exported, CANDIDATES, calibration, tmp_path / "candidates")
    assert before.exists()


def test_one_candidate_must_be_the_reference(
    exported: dict[Any, Path], calibration: Images, tmp_path: Path
) -> None:
    with pytest.raises(QuantizationError, match=r"quantize\.candidates: .*onnxruntime fp32"):
        make_candidates(exported, CANDIDATES[2:], calibration, tmp_path / "candidates")


def test_a_batch_size_that_was_not_exported_is_named(
    exported: dict[Any, Path], calibration: Images, tmp_path: Path
) -> None:
    dynamic = {"dynamic": exported["dynamic"]}
    with pytest.raises(QuantizationError, match=r"a-student: .*batch 1.*dynamic"):
        make_candidates(dynamic, CANDIDATES, calibration, tmp_path / "candidates")  # type: ignore[arg-type]


@pytest.mark.parametrize(("length", "expected"), [(None, "missing"), (5000, "truncated")])
def test_a_missing_or_truncated_student_is_named(
    exported: dict[Any, Path],
    calibration: Images,
    tmp_path: Path,
    length: int | None,
    expected: str,
) -> None:
    path = tmp_path / "student.onnx"
    if length is not None:
        path.write_bytes(exported["dynamic"].read_bytes()[:length])
    with pytest.raises(ArtifactError, match=rf"student\.onnx: .*{expected}"):
        make_candidates({"dynamic": path}, FP32, calibration, tmp_path / "candidates")


class Copy(CandidateRuntime):
    """A runtime of one file, as a plug-in would add it."""

    package = "numpy"
    int8_methods: ClassVar[dict[str, type[Section]]] = {"weights": Section}

    def make(self, candidate: Candidate, source: Path, calibration: Images, folder: Path) -> Path:
        """Copies the exported student."""
        return Path(shutil.copy(source, folder / "model.bin"))


def test_a_runtime_is_added_by_registering_it(
    exported: dict[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RUNTIMES._entries, "copy", Copy)
    candidate = Candidate(name="copy", runtime="copy", precision="int8", method="weights")
    nothing = np.empty((0, 32, 32, 3), np.uint8)
    made = make_candidates(exported, [*FP32, candidate], nothing, tmp_path / "candidates")
    assert made.candidates[1].model == "copy/model.bin"
    assert made.candidates[1].runtime_version == np.__version__
    with pytest.raises(ValidationError, match="copy has no int8 method 'static': known: weights"):
        Candidate(name="copy", runtime="copy", precision="int8")


PROCESS = """
import json, socket, sys
from pathlib import Path

def refuse(*arguments, **options):
    print("network:", arguments, file=sys.stderr, flush=True)
    raise OSError("no network here")

socket.socket.connect = socket.socket.connect_ex = refuse
socket.getaddrinfo = socket.create_connection = refuse

import numpy as np
from pipeline.params import Candidate
from pipeline.quantize.candidates import make_candidates

request = json.load(sys.stdin)
make_candidates(
    {"dynamic": Path(request["dynamic"]), 1: Path(request["1"])},
    [Candidate.model_validate(candidate) for candidate in request["candidates"]],
    np.load(request["calibration"], allow_pickle=False),
    Path(request["folder"]),
)
"""


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_another_process_gives_the_same_bytes_without_network_access(
    exported: dict[Any, Path],
    calibration: Images,
    made: CandidateSet,
    folder: Path,
    tmp_path: Path,
    runtime: str,
) -> None:
    # A separate process: the runtimes send telemetry when they are imported, from threads that
    # outlive the call, but not under pytest or in CI. They also write an identity to HOME.
    home = tmp_path / "home"
    home.mkdir()
    np.save(tmp_path / "calibration.npy", calibration)
    described = [c for c in DESCRIBED if runtime == c["runtime"] or c["precision"] == "fp32"]
    request = {
        "dynamic": str(exported["dynamic"]),
        "1": str(exported[1]),
        "candidates": described,
        "calibration": str(tmp_path / "calibration.npy"),
        "folder": str(tmp_path / "candidates"),
    }
    kept = ("PATH", "LD_LIBRARY_PATH", "OMP_NUM_THREADS")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    process = subprocess.run(
        [sys.executable, "-c", PROCESS],
        input=json.dumps(request),
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
