"""A training stage in several processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stages.launch import OPTIONS, should_launch
from tests.small_project import set_param
from tests.stage_process import StageProcesses

STAGE = [sys.executable, "-m", "stages.finetune"]


def start(folder: Path, options: str = "--standalone --nproc-per-node 2") -> subprocess.Popen[str]:
    environment = os.environ | {OPTIONS: options}
    return subprocess.Popen(STAGE, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def await_epoch(process: subprocess.Popen[str], epoch: int) -> None:
    assert process.stderr is not None
    assert any(f"epoch {epoch}/" in line for line in process.stderr)


def result(folder: Path) -> list[bytes]:
    paths = ("models/teacher/model.safetensors", "reports/teacher_history.csv")
    return [(folder / path).read_bytes() for path in paths]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_interrupted_processes_resume_to_the_same_files(project: Path) -> None:
    set_param(project, "finetune.epochs", 24)
    set_param(project, "run.checkpoint_minutes", 0.0001)
    StageProcesses().run_all(project, "prepare")
    process = start(project)
    errors = process.communicate(timeout=300)[1]
    assert process.returncode == 0, errors
    assert errors.count("epoch 7/") == 1  # the main process alone logs
    whole = result(project)
    shutil.rmtree(project / "models")

    process = start(project)
    await_epoch(process, 9)
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in errors
    last = errors.splitlines()[-1]
    assert last.startswith("finch finetune: interrupted; training resumes after epoch")
    assert last.endswith("; run it again")
    assert not (project / "models").exists()
    assert len(list((project / ".finch/checkpoints/finetune").iterdir())) == 1

    process = start(project)
    errors = process.communicate(timeout=300)[1]
    assert process.returncode == 0, errors
    assert "resuming after" in errors
    assert "epoch 9/" not in errors
    assert result(project) == whole


@pytest.mark.parametrize("options", ["--processes 2", "--help"])
def test_options_that_torchrun_does_not_know_are_refused(tmp_path: Path, options: str) -> None:
    process = start(tmp_path, options)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 1
    assert errors.splitlines()[-1].startswith(f"finch finetune: {OPTIONS} = {options}: ")
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({OPTIONS: ""}, False),
        ({OPTIONS: "--nproc-per-node 2"}, True),
        ({OPTIONS: "--nproc-per-node 2", "WORLD_SIZE": "2"}, False),
    ],
)
def test_a_process_that_was_launched_launches_no_others(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: bool
) -> None:
    for name in (OPTIONS, "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert should_launch() is expected


def test_a_stage_that_is_not_distributed_refuses_several_processes(project: Path) -> None:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *torchrun, "-m", "stages.qat"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode != 0
    line = "finch qat: WORLD_SIZE = 2: qat does not support distributed training; "
    assert line in done.stderr
    assert not (project / "models").exists()


@pytest.mark.slow
def test_two_processes_train_all_networks_of_the_teacher(project: Path) -> None:
    set_param(project, "finetune.epochs", 1)
    set_param(project, "finetune.members", [{"seed": 1}])
    set_param(project, "cache_logits.folds", 2)
    StageProcesses().run_all(project, "prepare")
    process = start(project)
    errors = process.communicate(timeout=300)[1]
    assert process.returncode == 0, errors
    assert errors.count("fold 1, member 0: epoch 1/1") == 1
    folders = (
        "",
        "members/0",
        *(f"folds/{fold}{m}" for fold in (0, 1) for m in ("", "/members/0")),
    )
    for folder in folders:
        assert (project / "models/teacher" / folder / "model.safetensors").is_file()
    StageProcesses().run_all(project, "cache_logits")
