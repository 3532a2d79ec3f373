"""Devices that answer late, never, or with something else. A script takes the place of ssh."""

import json
import os
import shlex
import sys
import time
from dataclasses import asdict

import pytest

from pipeline.errors import DeviceError
from pipeline.measure.devices import connection, remote, remote_runner
from pipeline.measure.devices.remote import open_device
from pipeline.measure.host import describe_host
from pipeline.params import ListedDevice
from tests.pipeline.measure.ssh_server import write_script

# Runs the last argument, the command for the device, on this machine.
RUN = 'for command; do :; done\nexec sh -c "$command"\n'


@pytest.fixture
def ssh(tmp_path, monkeypatch):
    """Writes the script that takes the place of ssh."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return lambda text=RUN: write_script(folder / "ssh", text)


def failure(python=sys.executable):
    with (
        pytest.raises(DeviceError) as caught,
        open_device(ListedDevice(name="pi", host="pi", python=python)) as device,
    ):
        device.describe()
    assert caught.value.thing == "pi"
    assert str(caught.value).isprintable()
    return str(caught.value)


def answering(tmp_path, answer):
    """Writes a Python that gives an answer to every command but the check of its version."""
    (tmp_path / "answer").write_bytes(remote_runner.BEGIN + answer)
    return write_script(
        tmp_path / "python",
        'case "$2" in *version_info*) echo python 3 11;; '
        f"*) cat {shlex.quote(str(tmp_path / 'answer'))};; esac\n",
    )


def test_the_script_is_a_device(ssh):
    ssh()
    with open_device(ListedDevice(name="pi", host="pi", python=sys.executable)) as device:
        assert device.describe() == describe_host()


@pytest.mark.parametrize("silent", ["a login script", "Python", "a command"])
def test_a_device_that_never_answers_is_given_up(ssh, tmp_path, monkeypatch, silent):
    ssh("exec sleep 60\n" if silent == "a login script" else RUN)
    for module in (connection, remote):
        monkeypatch.setattr(module, "ANSWER_S", 0.5)
    version = "echo python 3 11" if silent == "a command" else "exec sleep 60"
    python = write_script(
        tmp_path / "python", f'case "$2" in *version_info*) {version};; *) exec sleep 60;; esac\n'
    )
    started = time.monotonic()
    assert "did not answer within" in failure(python)
    assert time.monotonic() - started < 10


HOST = asdict(describe_host())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "describe"),
        (b"no JSON", "describe"),
        (b"[" * 100_000, "describe"),
        (b"{}", "cpu"),
        (b"[]", "describe"),
        (b"null", "describe"),
        (json.dumps({**HOST, "logical_cores": "many"}).encode(), "logical_cores"),
        (json.dumps({**HOST, "packages": None}).encode(), "packages"),
        (json.dumps({**HOST, "packages": {}}).encode(), "has no NumPy"),
        (b"\xff\xfe", "describe"),
    ],
)
def test_an_answer_that_is_no_description_is_one_line(ssh, tmp_path, answer, reason):
    ssh()
    message = failure(answering(tmp_path, answer))
    assert reason in message


def test_texts_of_a_device_are_made_printable(ssh, tmp_path):
    ssh()
    texts = {"cpu": "Fast\x1b[2J\u202eCPU\n", "governor": "a\x07b"}
    python = answering(tmp_path, json.dumps({**HOST, **texts}).encode())
    with open_device(ListedDevice(name="pi", host="pi", python=python)) as device:
        host = device.describe()
    assert host.cpu == r"Fast\x1b[2J\u202eCPU\n" and host.governor == r"a\x07b"


@pytest.mark.parametrize("where", ["ssh", "Python"])
def test_errors_of_a_device_are_made_printable(ssh, tmp_path, where):
    noise = r"printf '\033[2Jfailed\007\342\200\256\n' >&2; exit 1"
    ssh(noise if where == "ssh" else RUN)
    message = failure(write_script(tmp_path / "python", noise))
    assert r"\x1b[2Jfailed\x07\u202e" in message
