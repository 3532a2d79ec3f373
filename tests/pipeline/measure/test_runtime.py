import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from finch_runtime.protocol import (
    BenchmarkPlan,
    BenchmarkRequest,
    ComparePlan,
    ModelSource,
    from_json,
    to_json,
)

from pipeline.errors import MeasurementError
from pipeline.measure.devices.device import ThisMachine
from pipeline.measure.latency import LatencyPlan, measure_latency
from pipeline.measure.runtime import DeviceRuntime, MeasuredModel
from pipeline.measure.throughput import measure_throughput
from pipeline.params import Evaluate
from tests.pipeline.measure.linear_model import write_model

RUNTIME = DeviceRuntime(Path(__file__).parents[3] / "deploy" / "python")


@pytest.fixture
def fake(tmp_path):
    """Builds a device runtime that executes some lines of Python."""

    def fake(body):
        package = tmp_path / "runtime" / "finch_runtime"
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(body)
        return DeviceRuntime(package.parent)

    return fake


@pytest.fixture
def run(tmp_path, fake):
    """Runs a fake device runtime, and returns what it writes to the file ``out``."""

    def run(body, threads=3, model="model.onnx"):
        out = tmp_path / "out"
        lines = f"import os\nout = open({str(out)!r}, 'w')\n{body}\nout.close()\nos._exit(3)"
        with pytest.raises(MeasurementError, match="exited with code 3"):
            fake(lines).benchmark(
                MeasuredModel(tmp_path / model, "onnxruntime"),
                tmp_path / "images.npy",
                threads,
                BenchmarkPlan(),
            )
        return out.read_text()

    return run


def test_the_process_gets_the_request(run, tmp_path):
    text = run("import sys; print(*sys.argv[1:], file=out); out.write(sys.stdin.read())")
    command, request = text.splitlines()
    assert command == "measure"
    assert from_json(request, BenchmarkRequest) == BenchmarkRequest(
        ModelSource(str(tmp_path / "model.onnx"), "onnxruntime"),
        str(tmp_path / "images.npy"),
        3,
        BenchmarkPlan(),
    )


def test_relative_paths_are_resolved(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = run("import sys; out.write(sys.stdin.read())", model="sub/../model.onnx")
    assert json.loads(text)["model"]["path"] == str(tmp_path / "model.onnx")


def test_the_environment_does_not_affect_the_process(run, monkeypatch, tmp_path):
    leak = tmp_path / "leak"
    leak.mkdir()
    (leak / "leaked.py").touch()
    (leak / "finch_runtime.py").write_text("raise SystemExit('the wrong runtime')")
    monkeypatch.chdir(leak)
    monkeypatch.setenv("PYTHONPATH", str(leak))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.setenv("KMP_AFFINITY", "compact")
    monkeypatch.setenv("HTTPS_PROXY", "kept")
    body = (
        "import importlib.util as u; e = os.environ;"
        "print(u.find_spec('leaked'), e['OMP_NUM_THREADS'], e['MKL_NUM_THREADS'],"
        "e.get('OMP_WAIT_POLICY'), e.get('KMP_AFFINITY'), e['HTTPS_PROXY'], file=out)"
    )
    assert run(body).split() == ["None", "3", "3", "None", "None", "kept"]


def test_no_bytecode_is_written_to_the_runtime_folder(run, tmp_path):
    run("import finch_runtime")
    assert not list(tmp_path.rglob("__pycache__"))


READ = "import json, sys; path = json.load(sys.stdin)['model']['path']\n"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "import sys; print('noise', file=sys.stderr);"
            "print('finch_runtime: onnxruntime: is not installed; pip install it',"
            "file=sys.stderr); sys.exit(2)",
            "model.onnx: could not be run: onnxruntime: is not installed; pip install it",
        ),
        (
            READ + "sys.exit(f'finch_runtime: {path}: is damaged; export it again')",
            "model.onnx: could not be run: is damaged; export it again",
        ),
        ("raise SystemExit(7)", "code 7"),
        ("1 / 0", "ZeroDivisionError"),
        pytest.param(
            f"import os; os.kill(os.getpid(), {int(getattr(signal, 'SIGKILL', 0))})",
            "SIGKILL",
            marks=pytest.mark.skipif(os.name != "posix", reason="no signals"),
        ),
        ("print('{}')", "protocol: version is None"),
        (f"print({to_json(BenchmarkPlan())!r})", "BenchmarkPlan"),
    ],
)
def test_a_failure_names_the_model_and_the_reason(fake, tmp_path, body, expected):
    model = MeasuredModel(tmp_path / "model.onnx", "onnxruntime")
    with pytest.raises(MeasurementError) as caught:
        fake(body).benchmark(model, tmp_path / "images.npy", 1, BenchmarkPlan())
    assert caught.value.thing == model.path
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_installed_runtime_does_not_replace_a_missing_one(tmp_path):
    with pytest.raises(MeasurementError, match="finch_runtime"):
        DeviceRuntime(tmp_path).predict(
            MeasuredModel(tmp_path / "m.onnx", "onnxruntime"), tmp_path / "images.npy", 1
        )


@pytest.mark.parametrize("failed", ["b.onnx", None])
def test_the_failed_one_of_several_models_is_named(fake, tmp_path, failed):
    thing = tmp_path / failed if failed else "images"
    runtime = fake(f"raise SystemExit('finch_runtime: {thing}: wrong; fix it')")
    models = [MeasuredModel(tmp_path / f"{name}.onnx", "onnxruntime") for name in "ab"]
    with pytest.raises(MeasurementError, match="wrong; fix it") as caught:
        runtime.compare(models, tmp_path / "images.npy", 1, ComparePlan())
    assert (caught.value.thing == thing) == bool(failed)


@pytest.mark.parametrize("batch", ["batch", 1])
def test_logits_are_those_of_onnx_runtime(tmp_path, images, batch):
    model = write_model(tmp_path / "model.onnx", batch=batch)
    logits = RUNTIME.predict(model, images, 1)
    session = onnxruntime.InferenceSession(model.path, providers=["CPUExecutionProvider"])
    expected = [session.run(["logits"], {"images": i[None]})[0][0] for i in np.load(images)]
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


def test_logits_that_are_not_finite_are_rejected_by_name(tmp_path, images):
    model = write_model(tmp_path / "model.onnx", scale=np.inf)
    with pytest.raises(MeasurementError, match=r"model\.onnx: .*NaN or infinite"):
        RUNTIME.predict(model, images, 1)


def test_a_damaged_model_is_named(tmp_path, images):
    model = write_model(tmp_path / "model.onnx")
    model.path.write_bytes(model.path.read_bytes()[:300])
    with pytest.raises(MeasurementError, match=r"model\.onnx: could not be run: .*cannot load it"):
        RUNTIME.predict(model, images, 1)


def test_models_are_timed_as_planned(tmp_path, images):
    models = {name: write_model(tmp_path / f"{name}.onnx") for name in ("a", "b")}
    plan = LatencyPlan("a", threads=1, rounds=2, max_rounds=2, turns=ComparePlan(3, 4, 1, 0.0))
    found = measure_latency(models, images, RUNTIME, plan)
    assert list(found.latencies) == ["a", "b"] and found.count == 2
    for latency in found.latencies.values():
        assert 0 < latency.p50_ms <= latency.p90_ms <= latency.p99_ms <= latency.max_ms
        assert (latency.runs, len(latency.round_p50s_ms), latency.threads) == (24, 2, 1)
        assert latency.runtime_version == onnxruntime.__version__
    assert found.latencies["a"].round_ratios["p50"] == [1, 1]
    assert found.footprints["b"].peak_bytes > found.footprints["b"].baseline_bytes > 1e6
    assert found.footprints["b"].runtime_bytes > 1e7
    assert len(found.conditions) == 4


def test_throughput_is_measured_with_every_number_of_threads(tmp_path, images):
    model = write_model(tmp_path / "model.onnx")
    params = Evaluate(threads=2, thread_sweep=[1], batches=[1, 3], sustained_seconds=0.1)
    found = measure_throughput(model, images, RUNTIME, params)
    assert [(run.threads, [r.batch for r in run.rates]) for run in found.sweep] == [
        (2, [1, 3]),
        (1, [1, 3]),
    ]
    assert all(run.p50_ms > 0 for run in found.sweep)
    assert found.best.images_per_s == max(r.images_per_s for r in found.sweep[0].rates)
    assert found.sustained.steps[-1].end_s >= 0.1


def test_without_batch_sizes_there_is_no_throughput(tmp_path, images):
    model = write_model(tmp_path / "model.onnx", batch=1)
    found = measure_throughput(model, images, RUNTIME, Evaluate(batches=[]))
    assert found.best is None and found.sustained is None


# Notes its own process and one that it has started, which both run for two minutes.
TWO_PROCESSES = """\
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
with open({note!r}, "w") as file:
    file.write(f"{{os.getpid()}} {{child.pid}}")
time.sleep(120)
"""


def await_end(note):
    """Waits until the processes in a note have ended."""
    deadline = time.monotonic() + 10
    for process in map(int, note.read_text().split()):
        while Path(f"/proc/{process}").exists():
            assert time.monotonic() < deadline, f"process {process} is still running"
            time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc")
def test_a_killed_stage_leaves_no_process(fake, tmp_path):
    note = tmp_path / "note"
    runtime = fake(TWO_PROCESSES.format(note=str(note)))
    stage = (
        "import pathlib\n"
        "from finch_runtime.protocol import BenchmarkPlan\n"
        "from pipeline.measure.runtime import DeviceRuntime, MeasuredModel\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        f"runtime = DeviceRuntime(pathlib.Path({str(runtime.folder)!r}))\n"
        "model = MeasuredModel(folder / 'model.onnx', 'onnxruntime')\n"
        "runtime.benchmark(model, folder / 'images.npy', 1, BenchmarkPlan())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", stage])
    deadline = time.monotonic() + 30
    while not (note.exists() and len(note.read_text().split()) == 2):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    await_end(note)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc")
def test_a_model_that_never_ends_is_ended(fake, tmp_path):
    note = tmp_path / "note"
    folder = fake(TWO_PROCESSES.format(note=str(note))).folder
    runtime = DeviceRuntime(folder, ThisMachine(limit_s=1.5))
    model = MeasuredModel(tmp_path / "model.onnx", "onnxruntime")
    with pytest.raises(MeasurementError, match=r"model\.onnx: .*did not finish within"):
        runtime.benchmark(model, tmp_path / "images.npy", 1, BenchmarkPlan())
    await_end(note)
