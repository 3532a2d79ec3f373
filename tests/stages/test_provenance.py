"""Every stage refuses an input that another run left there, or that is damaged."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.small_project import PROJECT, small_params, write_photos
from tests.stage_process import StageProcesses, last_line

DVC: dict[str, Any] = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
RUNTIME = "deploy/python/finch_runtime"

# Inputs that no other input of the stage depends on, so that any of them is right.
EXEMPT = {
    ("finetune", "data/prepared"): "the first training: its record names whatever data is there",
    ("quantize", RUNTIME): "runs candidates to compare them, and is in no result",
    ("evaluate", RUNTIME): "is what measures; its hash is recorded in the evaluation",
    ("probe", RUNTIME): "describes devices, and nothing else is read",
    ("report", RUNTIME): "formats figures; the one that measured is recorded in the evaluation",
}

# Damaged files that a stage does not notice, although it would notice those of another run.
CACHED = "only model.json is read; what the weights said is in data/teacher_logits"
UNNOTICED = {
    ("distill", "models/teacher"): CACHED,
    ("qat", "models/teacher"): CACHED,
    ("evaluate", "models/onnx/teacher.onnx"): "report notices, which compares with parity.json",
}

# What the stage qat needs, see pipeline.qat.requirements.
HAS_QAT = importlib.util.find_spec("torchao") and shutil.which(os.environ.get("CXX", "c++"))
if not HAS_QAT:
    readers = {"qat": DVC["qat"]["deps"], "quantize": ["models/qat"], "report": ["models/qat"]}
    EXEMPT |= {(s, dep): "needs the extra qat" for s, deps in readers.items() for dep in deps}


def inputs_of(stage: str) -> list[str]:
    """What a stage reads of what other stages wrote, and the device runtime."""
    outs = [
        next(iter(out)) if isinstance(out, dict) else out
        for other in DVC.values()
        for key in ("outs", "metrics")
        for out in other.get(key, [])
    ]

    def is_made(dep: str) -> bool:
        return any(dep == out or dep.startswith(f"{out}/") for out in outs) or dep == RUNTIME

    return [dep for dep in DVC[stage]["deps"] if is_made(dep)]


PAIRS = [(stage, dep) for stage in DVC for dep in inputs_of(stage) if (stage, dep) not in EXEMPT]


def test_exemptions_are_inputs() -> None:
    """Of the files in dvc.yaml, or of the folders that hold them."""
    for stage, dep in EXEMPT:
        assert any(d.startswith(dep) for d in DVC[stage]["deps"]), (stage, dep)


def build(folder: Path, stages: StageProcesses, seed: int) -> None:
    """Runs all stages, one command after the other, without DVC."""
    photos = folder.parent / "photos"
    if not photos.exists():
        write_photos(photos, per_class=16)
    params = small_params(photos)
    params["prepare"]["seed"] = params["run"]["seed"] = seed
    params["finetune"]["epochs"] = params["distill"]["epochs"] = 1
    params["finetune"]["members"] = [{"seed": seed + 10, "weight": 2.0}]
    params["cache_logits"]["folds"] = 2
    params["quantize"]["mixed_precision"] = {"enabled": False}
    params["quantize"]["candidates"] = [
        {"name": "ort", "runtime": "onnxruntime", "precision": "fp32", "batch": "dynamic"},
        {"name": "ov", "runtime": "openvino", "precision": "fp16", "batch": "dynamic"},
    ]
    if HAS_QAT:
        params["qat"] = {"epochs": 1}
        qat = {"runtime": "onnxruntime", "precision": "int8", "method": "qat", "batch": "dynamic"}
        params["quantize"]["candidates"].append({"name": "qat", **qat})
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / RUNTIME, folder / RUNTIME, ignore=ignored)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    for stage in DVC:
        if stage == "report":  # reads only
            continue
        ended = stages.run(folder, stage)
        assert ended.returncode == 0, (stage, last_line(ended))


@pytest.fixture(scope="module")
def stages() -> StageProcesses:
    return StageProcesses()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, stages: StageProcesses) -> tuple[Path, Path]:
    """Two finished runs; the second has another split, seed, device runtime and machine."""
    root = tmp_path_factory.mktemp("runs")
    ours, other = root / "ours", root / "other"
    for seed, folder in enumerate((ours, other)):
        build(folder, stages, seed)
    with (other / RUNTIME / "session.py").open("a") as file:
        file.write("# another version\n")
    hosts = other / "reports/hosts.json"
    hosts.write_text(re.sub('"cpu": ".*"', '"cpu": "another machine"', hosts.read_text()))
    return ours, other


@pytest.fixture
def swapped(
    request: pytest.FixtureRequest, runs: tuple[Path, Path], tmp_path: Path
) -> Iterator[Path]:
    """Our run, with one input of the other one."""
    ours, other = runs
    path = ours / request.param
    path.rename(tmp_path / "kept")
    copy = shutil.copytree if (other / request.param).is_dir() else shutil.copy
    copy(other / request.param, path)
    yield ours
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    (tmp_path / "kept").rename(path)


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "swapped"), PAIRS, indirect=["swapped"])
def test_an_input_of_another_run_is_refused(
    stage: str, swapped: Path, stages: StageProcesses
) -> None:
    ended = stages.run(swapped, stage)
    line = last_line(ended)
    print(line)
    assert ended.returncode == 1, line
    assert line.startswith(f"finch {stage.replace('_', '-')}: ")
    assert re.search(r"`finch [a-z-]+`", line), line
    assert re.search(r"(\w+), (which|but) .*(\w+)", line), line


DAMAGED = [
    (stage, dep)
    for stage, dep in PAIRS
    if dep.startswith(("data/", "models/", "dist")) and not dep.endswith(".json")
    if (stage, dep) not in UNNOTICED
]


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "dep"), DAMAGED)
def test_changed_bits_are_refused(
    stage: str, dep: str, runs: tuple[Path, Path], stages: StageProcesses
) -> None:
    """One bit of every file that is no text."""
    path = runs[0] / dep
    files = [
        file
        for file in (path.rglob("*") if path.is_dir() else [path])
        if file.suffix in (".npy", ".safetensors", ".onnx", ".xml", ".bin", ".gz")
    ]
    contents = {file: file.read_bytes() for file in files}
    for file, content in contents.items():
        middle = len(content) // 2
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    try:
        ended = stages.run(runs[0], stage)
    finally:
        for file, content in contents.items():
            file.write_bytes(content)
    line = last_line(ended)
    print(line)
    assert ended.returncode == 1, line
    assert line.startswith(f"finch {stage.replace('_', '-')}: ")
    assert re.search(r"`finch [a-z-]+`", line), line


@pytest.mark.slow
def test_our_run_is_accepted(runs: tuple[Path, Path], stages: StageProcesses) -> None:
    """Otherwise the refusals above would prove nothing."""
    for stage in ("bundle", "verify", "report"):
        assert stages.run(runs[0], stage).returncode == 0
