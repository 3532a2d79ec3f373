"""`finch compare` as a user runs it: killed, restarted, and several processes in parallel."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.small_project import set_param
from tests.stage_process import StageProcesses

ENTRIES = [
    {
        "name": "cross-entropy",
        "set": {"method": "cross_entropy"},
        "tune": {"label_smoothing": [0.0, 0.1]},
    },
    {"name": "kd", "set": {"method": "kd"}, "tune": {"kd.weight": [0.5, 2.0]}},
    {
        "name": "figkd-max",
        "set": {"figkd.level": "max"},
        "tune": {"figkd.detail_weight": [0.1, 1.0]},
    },
]
RUNS = 3 * (2 + 2)

pytestmark = pytest.mark.slow


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f".{os.pathsep}deploy/python"}


def finch(project: Path, stage: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"stages.{stage}"],
        cwd=project, env=environment(), capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def start(project: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "stages.compare"],
        cwd=project, env=environment(), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finished(project: Path) -> dict[str, int]:
    """When each finished run was written."""
    models = (project / ".finch/compare").glob("[!.]*/model.safetensors")  # else half-written
    return {path.parent.name: path.stat().st_mtime_ns for path in models}


@pytest.fixture
def compared(project: Path) -> Path:
    config = {
        "entries": ENTRIES, "trials": 2, "seeds": 2, "folds": 3, "fold_block": 2,
        "trial_epochs": 1, "against": ["cross-entropy", "kd"],
    }  # fmt: skip
    (project / "compare.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    StageProcesses().run_all(project, "prepare", "finetune", "cache_logits")
    return project


def test_a_killed_comparison_resumes(compared):
    process = start(compared)
    while len(finished(compared)) < 3:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.kill()
    process.wait()
    before = finished(compared)
    assert not (compared / "reports/compare.json").exists()

    done = finch(compared, "compare")
    assert done.returncode == 0, done.stderr
    after = finished(compared)
    assert len(after) == RUNS
    assert {name: after[name] for name in before} == before
    assert done.stderr.count("left\n") == RUNS - len(before)

    facts = json.loads((compared / "reports/compare.json").read_text())
    assert [entry["name"] for entry in facts["entries"]] == [e["name"] for e in ENTRIES]
    assert all(0 <= run["accuracy"] <= 1 for entry in facts["entries"] for run in entry["runs"])
    assert set(facts["entries"][2]["against"]) == {"cross-entropy", "kd"}
    with (compared / "reports/compare_runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["entry"], row["seed"]) for row in rows] == [
        (entry["name"], seed) for entry in ENTRIES for seed in ("0", "1")
    ]
    markdown = (compared / "reports/compare.md").read_text()
    page = (compared / "reports/compare.html").read_text()
    for entry in ENTRIES:
        assert f"| {entry['name']} |" in markdown
        assert entry["name"] in page

    again = finch(compared, "compare")
    assert again.returncode == 0, again.stderr
    assert finished(compared) == after
    assert "left" not in again.stderr


def test_two_processes_share_the_runs(compared):
    both = [start(compared) for _ in range(2)]
    output = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], output
    counts = [text.count("left\n") for text in output]
    assert sum(counts) == RUNS == len(finished(compared))
    assert min(counts) > 0


def test_an_interrupted_comparison_can_be_restarted(compared):
    process = start(compared)
    while not finished(compared):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, output = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "interrupted; finished work is kept; run it again" in output


def test_runs_of_other_inputs_or_other_code_are_trained_again(compared):
    assert finch(compared, "compare").returncode == 0
    with (compared / "pipeline/losses/kd.py").open("a") as file:
        file.write("\n# changed\n")
    done = finch(compared, "compare")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("left\n") == done.stderr.count(" kd (") == 2 + 2

    set_param(compared, "cache_logits.views", 1)
    done = finch(compared, "compare")
    assert done.returncode == 1
    assert "cache_logits.views = 2, expected 1; run `finch cache-logits`" in done.stderr
    assert finch(compared, "cache_logits").returncode == 0
    done = finch(compared, "compare")
    assert done.stderr.count("left\n") == RUNS, done.stderr
