"""Training that is interrupted or killed, then resumed."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.small_project import set_param
from tests.stage_process import StageProcesses

OUTPUTS = {
    "finetune": ("models/teacher/model.safetensors", "reports/teacher_history.csv"),
    "distill": ("models/student/model.safetensors", "reports/student_history.csv"),
}


def start(stage: str, folder: Path) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", f"stages.{stage}"]
    return subprocess.Popen(line, cwd=folder, stderr=subprocess.PIPE, text=True)


def finish(stage: str, folder: Path) -> str:
    process = start(stage, folder)
    errors = process.communicate(timeout=300)[1]
    assert process.returncode == 0, errors
    return errors


def end(stage: str, folder: Path, number: signal.Signals, epoch: int) -> tuple[int, str]:
    """Ends a stage after an epoch; returns its code and what it errors after that epoch."""
    process = start(stage, folder)
    assert process.stderr is not None
    for line in process.stderr:
        if f"epoch {epoch}/" in line:
            break
    process.send_signal(number)
    errors = process.communicate(timeout=120)[1]
    return process.returncode, errors


def plotted_epochs(folder: Path, stage: str) -> list[int]:
    path = folder / f"reports/dvclive/{stage}/plots/metrics/val_accuracy.tsv"
    with path.open(newline="") as file:
        return [int(row["step"]) for row in csv.DictReader(file, delimiter="\t")]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_an_interrupted_stage_resumes_to_the_same_files(project: Path) -> None:
    set_param(project, "run.checkpoint_minutes", 0.0001)
    for stage in ("finetune", "distill"):
        set_param(project, f"{stage}.epochs", 40)
    StageProcesses().run_all(project, "prepare")
    for stage in ("finetune", "distill"):
        finish(stage, project)
        whole = [(project / path).read_bytes() for path in OUTPUTS[stage]]
        for path in OUTPUTS[stage]:
            (project / path).unlink()
        checkpoints = project / ".finch/checkpoints" / stage
        assert not checkpoints.exists()

        code, errors = end(stage, project, signal.SIGTERM, epoch=3)
        assert code == 128 + signal.SIGTERM
        assert "Traceback" not in errors
        last = errors.splitlines()[-1]
        assert last.startswith(f"finch {stage}: interrupted; training resumes after epoch")
        assert last.endswith("; run it again")

        code, errors = end(stage, project, signal.SIGKILL, epoch=10)
        assert code == -signal.SIGKILL
        code, errors = end(stage, project, signal.SIGINT, epoch=17)
        assert code == 128 + signal.SIGINT
        assert not any((project / path).exists() for path in OUTPUTS[stage])
        assert len(list(checkpoints.iterdir())) == 1

        errors = finish(stage, project)
        assert "resuming after" in errors
        assert "epoch 17/40" not in errors
        assert [(project / path).read_bytes() for path in OUTPUTS[stage]] == whole
        assert plotted_epochs(project, stage) == list(range(1, 41))
        assert not checkpoints.exists()
        if stage == "finetune":
            StageProcesses().run_all(project, "cache_logits")


def finished_batches(work: Path) -> int:
    """Batches that the journal counts."""
    journals = list(work.glob("[!.]*.json"))
    return int(json.loads(journals[0].read_text())["steps"]) if journals else 0


@pytest.mark.slow
def test_an_interrupted_logit_cache_resumes(project: Path) -> None:
    set_param(project, "cache_logits.views", 100)
    set_param(project, "cache_logits.batch_size", 1)
    set_param(project, "cache_logits.pack_views", True)
    StageProcesses().run_all(project, "prepare", "finetune", "cache_logits")
    folder, work = project / "data/teacher_logits", project / ".finch/cache_logits"
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    batches = json.loads(whole["cache.json"])["shape"][1] * 100
    assert not work.exists()

    shutil.rmtree(folder)  # as DVC does before a stage runs
    steps = 0
    for number in (signal.SIGKILL, signal.SIGTERM):
        process = start("cache_logits", project)
        while finished_batches(work) <= steps:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        steps = finished_batches(work)
        assert not folder.exists()
        if number == signal.SIGKILL:
            assert process.returncode == -number
        else:
            assert process.returncode == 128 + number
            assert "Traceback" not in errors
            last = errors.splitlines()[-1]
            assert last.startswith("finch cache-logits: interrupted; ")
            assert f"{steps} of {batches} batches" in last
    assert f"resuming after {steps} of {batches} batches" in finish("cache_logits", project)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole
    assert not work.exists()


@pytest.mark.slow
def test_other_parameters_train_from_the_start(project: Path) -> None:
    set_param(project, "finetune.epochs", 1000)
    StageProcesses().run_all(project, "prepare")
    assert end("finetune", project, signal.SIGTERM, epoch=2)[0] == 143
    set_param(project, "finetune.epochs", 2)
    errors = finish("finetune", project)
    assert "resuming" not in errors
    assert "epoch 1/2" in errors
    assert not (project / ".finch/checkpoints/finetune").exists()


def change(folder: Path, module: str) -> None:
    with (folder / module).open("a") as file:
        file.write("\n# changed\n")


@pytest.mark.slow
def test_training_continues_only_with_the_code_that_began_it(project: Path) -> None:
    set_param(project, "run.checkpoint_minutes", 0.0001)
    set_param(project, "distill.method", "kd")
    set_param(project, "distill.epochs", 400)
    StageProcesses().run_all(project, "prepare", "finetune", "cache_logits")
    assert end("distill", project, signal.SIGTERM, epoch=2)[0] == 143
    # Neither log lines nor another loss are part of the training.
    change(project, "stages/console.py")
    change(project, "pipeline/losses/dkd.py")
    assert "resuming after" in first_line(project)
    for module in ("pipeline/losses/kd.py", "pipeline/training/step.py"):
        change(project, module)
        assert "epoch 1/400" in first_line(project)
        assert "resuming after" in first_line(project)


def first_line(folder: Path) -> str:
    """Runs `finch distill` until its first log line about epochs."""
    process = start("distill", folder)
    assert process.stderr is not None
    line = next(line for line in process.stderr if "epoch" in line)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    return line
