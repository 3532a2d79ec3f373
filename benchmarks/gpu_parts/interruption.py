"""Kill and resume; more processes than GPUs; two GPUs against one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file

from .agreement import sampling_noise
from .finding import Finding, at_most, guarded, required
from .settings import Settings
from .small_project import run_stage, student_accuracy, taught_project, test_images

WEIGHTS = "models/student/model.safetensors"


def find(settings: Settings) -> Iterator[Finding]:
    """Every experiment that the machine has enough GPUs for."""
    yield from guarded("kill and resume", lambda: _kill_and_resume(settings))
    yield from guarded("too many processes", lambda: _too_many_processes(settings))
    if settings.device_type == "cuda" and torch.cuda.device_count() > 1:
        yield from guarded("two GPUs", lambda: _two_gpus(settings))
    else:
        yield Finding("two GPUs against one", "not tried: this needs two GPUs")


def _kill_and_resume(settings: Settings) -> Iterator[Finding]:
    epochs = 15 if settings.tiny else 40  # training must not be over when it is killed
    run = {"checkpoint_minutes": 0.0001, "deterministic": True}
    changes = {"run": run, "distill": {"epochs": epochs}}
    whole, killed = (taught_project(settings, name, changes) for name in ("whole", "killed"))
    run_stage("distill", whole)
    process = _distill(killed)
    assert process.stderr is not None
    for line in process.stderr:
        if "epoch 2/" in line:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    yield required("training is killed after epoch 2", _ended(process), process.returncode < 0)
    resumed = _distill(killed)
    errors = resumed.communicate()[1]
    how = next((line for line in errors.splitlines() if "resuming" in line), "from the start")
    yield required("the second call resumes", how, "resuming after" in how)
    yield required("the second call ends", _ended(resumed), resumed.returncode == 0)
    expected, found = load_file(whole / WEIGHTS), load_file(killed / WEIGHTS)
    largest = max(float((found[n].float() - t.float()).abs().max()) for n, t in expected.items())
    name = "weights, killed and resumed against never interrupted: largest difference"
    yield at_most(name, largest, "", 0)


def _too_many_processes(settings: Settings) -> Iterator[Finding]:
    """Two processes, and one GPU that they can see."""
    project = taught_project(settings, "crowded", {"run": {"device": "cuda"}})
    gpus = {"CUDA_VISIBLE_DEVICES": "0"} if settings.device_type == "cuda" else {}
    launcher = {"FINCH_TORCHRUN": "--standalone --nproc-per-node 2"} if gpus else {}
    process = _distill(project, gpus | launcher)
    # Without the log of the process that is not refused.
    lines = [line for line in process.communicate()[1].splitlines() if line.startswith("finch")]
    name = "two processes on one GPU" if gpus else "run.device: cuda without a GPU"
    clear = process.returncode == 1 and len(lines) == 1 and "run.device" in lines[0]
    yield required(name, "; ".join(lines) or "no message", clear, "refused in one line")


def _two_gpus(settings: Settings) -> Iterator[Finding]:
    changes = {"distill": {"model": "cifar_resnet8", "precision": "fp32"}}
    one, two = (taught_project(settings, name, changes) for name in ("one-gpu", "two-gpus"))
    run_stage("distill", one)
    process = _distill(two, {"FINCH_TORCHRUN": "--standalone --nproc-per-node 2"})
    process.communicate()
    yield required("distill on two GPUs ends", _ended(process), process.returncode == 0)
    accuracies = student_accuracy(one), student_accuracy(two)
    noise = sampling_noise(accuracies[0], test_images(one))
    name = "accuracy: difference between two GPUs and one"
    yield at_most(name, abs(accuracies[0] - accuracies[1]), "points", round(noise, 1))


def _distill(folder: Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "stages.distill"],
        cwd=folder,
        env=os.environ | (environment or {}),
        stderr=subprocess.PIPE,
        text=True,
    )


def _ended(process: subprocess.Popen[str]) -> str:
    return f"exit status {process.returncode}"
