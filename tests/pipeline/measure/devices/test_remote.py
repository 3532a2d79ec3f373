import os
import re
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from finch_runtime.protocol import (
    BenchmarkPlan,
    BenchmarkResult,
    ComparePlan,
    Conditions,
    Energy,
    ModelTiming,
    to_json,
)

from pipeline.errors import ArtifactError, DeviceError, MeasurementError
from pipeline.measure.devices.connection import connect
from pipeline.measure.devices.device import Files
from pipeline.measure.devices.remote import RemoteDevice, open_device
from pipeline.measure.host import describe_host
from pipeline.measure.latency import LatencyPlan, measure_latency
from pipeline.measure.runtime import DeviceRuntime, MeasuredModel
from tests.pipeline.measure.linear_model import write_model
from tests.pipeline.measure.ssh_server import (
    LOGIN_SHELLS,
    write_dropping_python,
    write_python,
    write_script,
)

RUNTIME_FOLDER = Path(__file__).parents[4] / "deploy" / "python"
TIMING = ModelTiming("none", "0", 1, {}, 0.0, 0.0, [[1.0]], Energy(None, 0, ""), None, None, None)
EMPTY_RESULT = to_json(BenchmarkResult(TIMING, [Conditions(None, None)] * 2, [], None))


def failure(listed, act=lambda device: device.describe()):
    with pytest.raises(DeviceError) as caught, open_device(listed) as device:
        act(device)
    message = str(caught.value)
    assert message.startswith(f"{listed.name}: ")
    assert "\n" not in message
    return message


def fake_runtime(tmp_path, body):
    """A device runtime that executes some lines of Python."""
    package = tmp_path / "runtime" / "finch_runtime"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(body)
    return package.parent


def bench(device, model, images, folder, threads=1):
    return DeviceRuntime(folder, device).benchmark(model, images, threads, BenchmarkPlan(runs=1))


def test_another_device_gives_the_same_logits_and_times_them(listed, images, tmp_path):
    model = write_model(tmp_path / "model.onnx")
    # Characters that a shell interprets.
    odd = tmp_path / 'it\'s $HOME; touch `x` & "y" *'
    odd.mkdir()
    interpreter = write_script(odd / "my python", f'exec {sys.executable} "$@"\n')
    here = DeviceRuntime(RUNTIME_FOLDER).predict(model, images, 1)
    with open_device(listed(folder=str(odd / "there"), python=interpreter)) as device:
        runtime = DeviceRuntime(RUNTIME_FOLDER, device)
        there = runtime.predict(model, images, 1)
        plan = LatencyPlan("model", 1, rounds=2, max_rounds=2, turns=ComparePlan(2, 5, 1, 0.0))
        times = measure_latency({"model": model}, images, runtime, plan).latencies["model"]
    np.testing.assert_array_equal(there, here)
    assert 0 < times.p50_ms <= times.max_ms
    assert (times.runs, times.runtime) == (20, "onnxruntime")


@pytest.mark.parametrize("shell", LOGIN_SHELLS)
def test_the_login_shell_does_not_matter(listed, shell, images, tmp_path):
    if shutil.which(LOGIN_SHELLS[shell].split()[0]) is None:
        pytest.skip(f"{shell} is not installed")
    model = write_model(tmp_path / "model.onnx")
    odd = tmp_path / 'it\'s $HOME; touch `x` & "y" * !! \\'
    with open_device(listed(host=shell, folder=str(odd))) as device:
        assert device.describe() == describe_host()
        there = DeviceRuntime(RUNTIME_FOLDER, device).predict(model, images, 1)
    np.testing.assert_array_equal(there, DeviceRuntime(RUNTIME_FOLDER).predict(model, images, 1))


def test_a_command_is_one_line_that_every_shell_reads_alike(device, server):
    before = len(server.log.read_text())
    device.describe()
    (command,) = server.log.read_text()[before:].splitlines()
    assert not set(command) & set("!$`\\"), "a line break, or a character that some shell expands"


def test_a_remote_device_is_described_like_a_local_one(device):
    assert device.describe() == describe_host()


def test_files_are_copied_once(listed, server, images, tmp_path):
    model = write_model(tmp_path / "model.onnx")
    runtime = fake_runtime(tmp_path, f"print({EMPTY_RESULT!r})")
    before = server.copies()
    with pytest.raises(KeyboardInterrupt), open_device(listed()) as device:
        bench(device, model, images, runtime)
        bench(device, model, images, runtime)
        assert server.copies() - before == 3, "the runtime, the images and the model, once"
        raise KeyboardInterrupt
    with open_device(listed()) as device:
        bench(device, model, images, runtime)
        assert server.copies() - before == 3
        model.path.write_bytes(model.path.read_bytes() + b"\0")
        bench(device, model, images, runtime)
        assert server.copies() - before == 4, "the model that has changed"


def test_all_copies_are_removed(listed, images, tmp_path):
    own = tmp_path / "there" / "own.txt"
    own.parent.mkdir()
    own.touch()
    model = write_model(tmp_path / "model.onnx")
    with open_device(listed()) as device:
        bench(device, model, images, fake_runtime(tmp_path, f"print({EMPTY_RESULT!r})"))
        assert len(list(own.parent.iterdir())) == 2
    assert list(own.parent.iterdir()) == [own]


def test_files_keep_their_relative_paths(device, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a").write_text("1")
    (tmp_path / "sub" / "b").write_text("2")
    folder = Path(device.place(Files(tmp_path, ("a", "sub/b"))))
    assert folder != tmp_path
    assert ((folder / "a").read_text(), (folder / "sub/b").read_text()) == ("1", "2")


def test_a_missing_file_is_named(device, tmp_path):
    with pytest.raises(ArtifactError, match=r"model\.onnx: cannot be read"):
        MeasuredModel(tmp_path / "model.onnx", "onnxruntime").copy_to(device)


def test_the_environment_there_does_not_affect_the_process(listed, images, tmp_path):
    runtime = fake_runtime(
        tmp_path,
        "import os; e = os.environ; raise SystemExit("
        "f\"{e['OMP_NUM_THREADS']}, {e.get('OMP_WAIT_POLICY')}\")",
    )
    python = write_script(
        tmp_path / "python",
        'case "$*" in *finch_runtime*) ;; *) export OMP_NUM_THREADS=9 OMP_WAIT_POLICY=active;; esac'
        f'\nexec {sys.executable} "$@"\n',
    )
    model = write_model(tmp_path / "model.onnx")
    with (
        open_device(listed(python=python)) as device,
        pytest.raises(MeasurementError, match="run: 3, None"),
    ):
        bench(device, model, images, runtime, threads=3)


def test_output_of_login_scripts_is_ignored(listed, images, tmp_path):
    model = write_model(tmp_path / "model.onnx")
    with open_device(listed(host="talkative")) as device:
        there = DeviceRuntime(RUNTIME_FOLDER, device).predict(model, images, 1)
    assert there.shape == (70, 3)


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ("raise SystemExit('finch_runtime: openvino: is not installed')", "is not installed"),
        ("raise SystemExit(255)", "code 255"),
        ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
    ],
)
def test_a_failing_model_is_not_a_failing_device(device, images, tmp_path, body, match):
    model = write_model(tmp_path / "model.onnx")
    with pytest.raises(MeasurementError, match=match) as caught:
        bench(device, model, images, fake_runtime(tmp_path, body))
    assert not isinstance(caught.value, DeviceError)
    assert caught.value.thing == model.path


@pytest.mark.parametrize(
    ("host", "match"),
    [
        ("password", "password.*ssh-copy-id password"),
        ("unknown", "host key is unknown.*: ssh unknown"),
        ("changed", "host key has changed.*ssh-keygen -R"),
        ("elsewhere", "cannot be reached .*refused.*evaluate.devices"),
        ("no.such.host.invalid", "cannot be reached .*no.such.host.invalid"),
    ],
)
def test_a_refused_connection_has_a_remedy(listed, host, match):
    message = failure(listed(host=host))
    assert re.search(match, message), message


def test_a_port_overrides_the_ssh_configuration(listed, server):
    with open_device(listed(host="elsewhere", port=server.port)) as device:
        assert device.describe() == describe_host()
    assert "ssh -p 1 pi" in failure(listed(port=1))


def test_no_python_or_too_old_a_one_is_named(listed, tmp_path):
    message = failure(listed(python="no-such-python"))
    assert "no-such-python" in message
    assert "Python 3.9 or newer" in message
    old = write_script(tmp_path / "old", "echo python 2 7\n")
    assert "is Python 2.7; install Python 3.9" in failure(listed(python=old))


def test_no_numpy_is_named(listed, tmp_path):
    bare = write_script(tmp_path / "bare", f'exec {sys.executable} -S "$@"\n')
    assert f"its {bare} has no NumPy; " in failure(listed(python=bare))


@pytest.mark.parametrize("has_runtime", [False, True])
def test_a_32_bit_system_with_a_64_bit_kernel_is_named(listed, tmp_path, has_runtime):
    (tmp_path / "first").mkdir()
    hide = (
        "import importlib.metadata as m\n"
        "def version(name, found=m.version):\n"
        "    if name == 'onnxruntime':\n"
        "        raise m.PackageNotFoundError(name)\n"
        "    return found(name)\n"
        "m.version = version\n"
    )
    narrow = "import sys\nsys.maxsize = 2**31 - 1\n"
    (tmp_path / "first/sitecustomize.py").write_text(narrow + (not has_runtime) * hide)
    python = write_python(tmp_path / "python", tmp_path / "first")
    if has_runtime:
        with open_device(listed(python=python)) as device:
            assert "32-bit" in device.describe().architecture
    else:
        message = failure(listed(python=python))
        assert "is a 32-bit program" in message
        assert "64-bit system" in message


def test_packed_images_need_no_pillow(listed, images, tmp_path):
    (tmp_path / "first" / "PIL").mkdir(parents=True)
    (tmp_path / "first/PIL/__init__.py").write_text("raise ImportError('no Pillow')")
    python = write_python(tmp_path / "python", tmp_path / "first")
    model = write_model(tmp_path / "model.onnx")
    with open_device(listed(python=python)) as device:
        DeviceRuntime(RUNTIME_FOLDER, device).predict(model, images, 1)


@pytest.mark.parametrize("where", ["as files arrive", "as logits are written"])
def test_a_full_disk_is_named(listed, images, tmp_path, where):
    model = write_model(tmp_path / "model.onnx")
    full = "import errno, os\ndef full(*_):\n    raise OSError(errno.ENOSPC, os.strerror(28))\n"
    first = tmp_path / "first"
    first.mkdir()
    patch = "import shutil\nshutil.copyfileobj = full\n" if "arrive" in where else ""
    (first / "sitecustomize.py").write_text(full + patch)
    runtime = fake_runtime(tmp_path, "import sitecustomize; sitecustomize.full()")
    python = write_python(tmp_path / "python", first)
    message = failure(listed(python=python), lambda device: bench(device, model, images, runtime))
    assert "its disk is full" in message
    assert "`folder`" in message


def test_an_unusable_folder_is_named(listed, tmp_path):
    (tmp_path / "there").write_text("a file instead of a folder")
    message = failure(listed(), lambda device: device.place(Files(tmp_path, ("there",))))
    assert str(tmp_path / "there") in message


def test_a_lost_connection_is_named(listed, images, tmp_path):
    python = write_dropping_python(tmp_path / "python")
    model = write_model(tmp_path / "model.onnx")
    message = failure(
        listed(python=python), lambda device: bench(device, model, images, RUNTIME_FOLDER)
    )
    assert "the connection was lost" in message
    assert "run the stage again" in message


def test_a_lost_connection_ends_the_process(listed, images, tmp_path):
    note = tmp_path / "pid"
    runtime = fake_runtime(
        tmp_path,
        f"import os, pathlib, time\npathlib.Path({str(note)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(120)\n",
    )
    model = write_model(tmp_path / "model.onnx")
    seen = []

    def measure(device):
        try:
            bench(device, model, images, runtime)
        except DeviceError as error:
            seen.append(error)

    entry = listed()
    with connect(entry.name, entry.host, entry.port) as connection:
        thread = threading.Thread(target=measure, args=(RemoteDevice(entry, connection),))
        thread.start()
        while not (note.exists() and note.read_text()):
            time.sleep(0.05)
    thread.join(30)
    assert seen
    process = int(note.read_text())
    for _ in range(200):
        try:
            os.kill(process, signal.SIG_DFL)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("the process is still running")
