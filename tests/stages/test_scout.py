"""`finch scout` as a user runs it: killed, restarted, with networks that cannot be measured."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pipeline.params import load_params
from tests.small_project import set_param

# 40 px is not a multiple of the patch size of test_vit.
MODELS = ["test_byobnet", "test_vit", "test_efficientnet"]


def line(*overrides: str) -> list[str]:
    set_all = [word for override in overrides for word in ("--set", override)]
    return [sys.executable, "-m", "stages.scout", *set_all]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f".{os.pathsep}deploy/python"}


def finch(project: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        line(*overrides), cwd=project, env=environment(), capture_output=True, text=True,
        timeout=500,
    )  # fmt: skip


def start(project: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        line(), cwd=project, env=environment(), stderr=subprocess.PIPE, text=True
    )


def kept(project: Path) -> dict[str, int]:
    """When each measured student was written."""
    files = (project / ".finch/scout").glob("[!.]*.json")
    return {path.name: path.stat().st_mtime_ns for path in files}


@pytest.fixture
def scouted(project: Path) -> Path:
    config = {
        "latency_ms": 1000.0, "models": MODELS, "image_sizes": [40],
        "rounds": 3, "runs": 10, "warmup": 1,
    }  # fmt: skip
    (project / "scout.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    candidates = [
        {"name": "fp32", "runtime": "onnxruntime", "precision": "fp32"},
        {"name": "int8", "runtime": "onnxruntime", "precision": "int8"},
        {"name": "int8-qat", "runtime": "onnxruntime", "precision": "int8", "method": "qat"},
    ]
    set_param(project, "qat.epochs", 1)
    set_param(project, "quantize.candidates", candidates)
    return project


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_killed_scout_resumes_and_proposes_the_largest(scouted):
    process = start(scouted)
    while not kept(scouted):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    second = finch(scouted)
    assert second.returncode == 1
    assert "scout: is already running" in second.stderr
    process.kill()
    process.wait()
    before = kept(scouted)
    assert len(before) == 1 and not (scouted / "reports/scout.json").exists()

    done = finch(scouted)
    assert done.returncode == 0, done.stderr
    after = kept(scouted)
    assert len(after) == 2  # the student that cannot be measured is not stored
    assert {name: after[name] for name in before} == before

    facts = json.loads((scouted / "reports/scout.json").read_text())
    students = {student["model"]: student for student in facts["students"]}
    assert list(students) == MODELS
    broken = students["test_vit"]
    assert "40 px" in broken["problem"] and not broken["timings"]
    measured = [students[model] for model in MODELS if not students[model]["problem"]]
    assert len(measured) == 2
    for student in measured:
        assert [timing["name"] for timing in student["timings"]] == ["fp32", "int8"]
        assert all(len(timing["round_p50s_ms"]) == 3 for timing in student["timings"])
    largest = max(measured, key=lambda student: student["multiply_adds"])
    assert facts["students"][facts["proposal"]] == largest

    lines = yaml.safe_load(done.stdout)
    assert lines == {"distill": {"model": largest["model"], "image_size": 40}}
    adopted = load_params(scouted / "params.yaml", [f"distill.model={lines['distill']['model']}"])
    assert adopted.distill.model == largest["model"]
    assert "cannot be measured" in (scouted / "reports/scout.md").read_text()
    assert "<svg" in (scouted / "reports/scout.html").read_text()

    # Another budget uses the same measurements.
    none = finch(scouted, "scout.latency_ms=0.000001")
    assert none.returncode == 0, none.stderr
    assert "need a trained student (method qat): int8-qat" in none.stderr
    assert "1e-06 ms" in none.stderr and "closest" in none.stderr
    assert none.stdout == ""
    assert kept(scouted) == after


@pytest.mark.slow
def test_an_interrupted_scout_can_be_restarted(scouted):
    process = start(scouted)
    while not kept(scouted):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, output = process.communicate(timeout=120)
    assert process.returncode == 143
    assert "interrupted; finished work is kept; run it again" in output


@pytest.mark.slow
def test_without_any_measured_network_the_command_fails_and_the_report_has_the_reason(scouted):
    done = finch(scouted, "scout.models=[test_vit]")
    assert done.returncode == 1
    assert "scout.models" in done.stderr and "reports/scout.md" in done.stderr
    assert "cannot be measured" in (scouted / "reports/scout.md").read_text()


@pytest.mark.slow
def test_an_unknown_network_is_refused_with_close_names_before_any_work(scouted):
    done = finch(scouted, "scout.models=[test_byobnet, mobilenetv2_53]")
    assert done.returncode == 1
    assert "model 'mobilenetv2_53'" in done.stderr
    assert "mobilenetv2_035" in done.stderr or "mobilenetv2_050" in done.stderr
    assert not kept(scouted)
