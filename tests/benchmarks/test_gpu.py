"""The command of benchmarks/gpu.py: limits, failures, its table, and what it reads from a trace."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.gpu_parts.finding import Finding, at_least, at_most, guarded
from benchmarks.gpu_parts.gpu_tests import read_report
from benchmarks.gpu_parts.marks import StepMarks
from benchmarks.gpu_parts.running import Outcome, run_parts
from benchmarks.gpu_parts.table import as_markdown
from benchmarks.gpu_parts.timing import Stopwatch
from benchmarks.gpu_parts.trace import STEP, covered, read_trace

PROJECT = Path(__file__).parents[2]
CPU = torch.device("cpu")

WRITE = """
import json, sys
with open(sys.argv[1], "a") as file:
    file.write(json.dumps({"what": "found", "value": 1.0}) + "\\n")
"""
PARTS = {
    "fails": f"{WRITE}\nraise ValueError('no memory')",
    # Its child must end with it, and the line that it was writing does not count.
    "hangs": f"""{WRITE}
import subprocess, time
child = subprocess.Popen(["sleep", "600"])
with open(sys.argv[1], "a") as file:
    file.write('{{"what": "half')
print(child.pid, flush=True)
time.sleep(600)
""",
    "works": WRITE,
}


def run(folder: Path, seconds: float, shares: dict[str, float]) -> list[Outcome]:
    def command(part: str) -> list[str]:
        return [sys.executable, "-c", PARTS[part], str(folder / f"{part}.jsonl")]

    return run_parts(shares, seconds, folder, command, lambda outcomes: None)


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # not yet reaped by init
    except psutil.NoSuchProcess:
        return False


def test_a_part_that_fails_or_hangs_does_not_stop_the_others(tmp_path):
    failed, hung, worked = run(tmp_path, 20, {"fails": 1, "hangs": 1, "works": 8})
    assert [o.status for o in (failed, hung, worked)] == ["failed", "time limit", "done"]
    assert failed.problem == "ValueError: no memory"
    assert hung.seconds == pytest.approx(hung.limit, abs=2)
    # What was found before is kept.
    assert all(o.findings == [Finding("found", 1.0)] for o in (failed, hung, worked))
    assert not is_running(int((tmp_path / "hangs.log").read_text()))
    assert [o.good for o in (failed, hung, worked)] == [False, False, True]


def test_time_that_a_part_leaves_goes_to_the_later_ones(tmp_path):
    first, second = run(tmp_path, 100, {"works": 1, "fails": 1})
    assert first.limit == pytest.approx(50, abs=0.1)
    assert second.limit == pytest.approx(100 - first.seconds, abs=0.5)


def test_an_exception_in_one_experiment_is_a_finding():
    def find():
        yield Finding("first", 1.0)
        raise RuntimeError("out of\nmemory")

    first, second = guarded("the experiment", find)
    assert first == Finding("first", 1.0)
    assert second.what == "the experiment"
    assert second.value == "RuntimeError: out of memory"
    assert second.met is False


def test_the_table_shows_targets_limits_and_failures():
    found = [
        at_least("speed", [90.0, 110.0, 100.0], "images/s", 95),
        at_most("waits", 2, "", 0),
        Finding("a|b", "two\nlines"),
    ]
    outcomes = [
        Outcome("one", "done", 3, 9, found),
        Outcome("two", "failed", 1, 9, [], "ValueError: no memory"),
        Outcome("three", "time limit", 9, 9, []),
    ]
    titles = {"one": "First", "two": "Second", "three": "Third"}
    lines = as_markdown(titles, outcomes, {"GPU": "none"}).splitlines()
    assert lines[0] == "- GPU: none"
    assert "| First | speed | 100 (90 to 110) images/s | at least 95 | yes |" in lines
    assert "| First | waits | 2 | at most 0 | **no** |" in lines
    assert r"| First | a\|b | two lines |  |  |" in lines
    assert any("**Second**" in line and "ValueError: no memory" in line for line in lines)
    assert any("**Third**" in line and "time limit" in line for line in lines)
    # A table of Markdown: every row has the same number of cells.
    assert {line.replace(r"\|", "").count("|") for line in lines[2:]} == {6}


def event(name: str, category: str, start: float, length: float = 1) -> dict[str, object]:
    return {"ph": "X", "name": name, "cat": category, "ts": start, "dur": length}


def write_trace(path: Path, events: list[dict[str, object]]) -> Path:
    marks = [event(STEP, "user_annotation", time) for time in (100, 200, 300)]
    # What a trace also contains: metadata, and the marks again on the GPU's timeline.
    others = [{"ph": "M", "name": "process_name"}, event(STEP, "gpu_user_annotation", 150)]
    path.write_text(json.dumps({"traceEvents": [*marks, *others, *events]}))
    return path


def test_waits_are_counted_in_the_step_that_they_are_in(tmp_path):
    trace = write_trace(
        tmp_path / "trace.json",
        [
            event("cudaDeviceSynchronize", "cuda_runtime", 50),  # before the first step
            event("cudaLaunchKernel", "cuda_runtime", 110),
            event("cudaMemcpyAsync", "cuda_runtime", 120),
            event("cudaStreamSynchronize", "cuda_runtime", 230),
            event("aten::_local_scalar_dense", "cpu_op", 229),
            event("Memcpy DtoH (Device -> Pageable)", "gpu_memcpy", 231),
            event("Memcpy HtoD (Pinned -> Device)", "gpu_memcpy", 232),
            event("cudaDeviceSynchronize", "cuda_runtime", 310),  # after the last step
            # Two streams, and a kernel that ends after the last step was launched.
            event("conv", "kernel", 210, 40),
            event("bn", "kernel", 230, 40),
            event("sgd", "kernel", 305, 30),
        ],
    )
    found = read_trace(trace)
    assert found.steps == 2
    assert found.waits == [[], ["cudaStreamSynchronize"]]
    assert found.waiting_steps == 1
    assert found.reads == [0, 1]
    assert found.copies == 1
    assert found.kernel_seconds == pytest.approx(90e-6)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10))))
def test_overlapping_intervals_count_once(intervals):
    spans = [(start, start + length) for start, length in intervals]
    units = {unit for start, end in spans for unit in range(start, end)}
    assert covered(spans) == len(units)


def test_a_real_trace_shows_the_scalars_that_a_step_reads_back(tmp_path):
    marks = StepMarks(CPU, tmp_path / "trace.json", warmup=2, steps=3)
    numbers, done = torch.arange(4.0), 0
    while True:
        numbers = numbers * 2
        if done % 2:
            numbers.sum().item()
        done += 1
        if marks():
            break
    assert done == 5
    assert read_trace(tmp_path / "trace.json").reads == [0, 1, 0]


def test_a_trace_without_marks_is_refused(tmp_path):
    path = tmp_path / "trace.json"
    path.write_text('{"traceEvents": []}')
    with pytest.raises(ValueError, match="0 marks"):
        read_trace(path)


def test_a_stopwatch_times_as_many_steps_as_take_the_wanted_time():
    now, steps = 0.0, 0
    watch = Stopwatch(CPU, seconds=2.0, warmup=4, now=lambda: now)
    while True:
        now += 10 if steps < 4 else 0.1  # the first steps are slow
        steps += 1
        if watch():
            break
    assert watch.step_seconds == pytest.approx(0.1)
    assert steps == 4 + 4 + 20


def test_results_of_the_gpu_tests(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(
        """<testsuites><testsuite>
        <testcase name="good"/>
        <testcase name="bad"><failure message="assert 1 == 2&#10; more"/></testcase>
        <testcase name="broken"><error message="no driver"/></testcase>
        <testcase name="alone"><skipped message="needs two GPUs"/></testcase>
        </testsuite></testsuites>"""
    )
    found = list(read_report(report, must_run=True))
    values = [str(item.value) for item in found if item.met is False]
    assert values == ["bad: assert 1 == 2", "broken: no driver", "2"]
    assert Finding("skipped: alone", "needs two GPUs") in found
    assert found[-1].value == "1 tests"
    assert found[-1].met
    report.write_text("<testsuites><testsuite/></testsuites>")
    assert list(read_report(report, must_run=True))[-1].met is False


def command(*options: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "benchmarks/gpu.py", *options]
    return subprocess.run(line, cwd=PROJECT, capture_output=True, text=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_the_command_without_a_gpu_says_how_to_try_it(tmp_path):
    done = command("--out", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("to try the command: --device cpu --tiny")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_command_in_miniature(tmp_path):
    # A minute on an idle core; the limits are for a machine that does other things too.
    done = command("--out", str(tmp_path), "--device", "cpu", "--tiny", "--minutes", "25")
    assert done.returncode == 0, done.stdout
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    found = {part["part"]: {f["what"]: f["value"] for f in part["findings"]} for part in parts}
    assert len(found) == 6
    assert all(part["good"] and part["findings"] for part in parts)
    # On one device, the two trainings are the same.
    same = [value for what, value in found["agreement"].items() if "fp32 relative to" in what]
    assert same == [0]
    assert (tmp_path / "gpu.md").read_text() in done.stdout
