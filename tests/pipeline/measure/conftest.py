"""A second device, which is this machine through a local OpenSSH server."""

import os
import shutil
import sys

import numpy as np
import pytest

from pipeline.measure.devices.remote import open_device
from pipeline.params import ListedDevice
from tests.pipeline.measure.linear_model import SIZE
from tests.pipeline.measure.ssh_server import SSHD, Server


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("sshd is not installed; on Debian: apt-get install openssh-server")
    server = Server(tmp_path_factory.mktemp("sshd"))
    yield server
    server.process.kill()
    server.process.wait()


@pytest.fixture
def listed(server, monkeypatch, tmp_path):
    """Builds an entry of evaluate.devices for the server."""
    monkeypatch.setenv("PATH", f"{server.bin}:{os.environ['PATH']}")

    def listed(**changes):
        there = {"name": "pi", "host": "pi", "python": sys.executable}
        return ListedDevice(**{**there, "folder": str(tmp_path / "there"), **changes})

    return listed


@pytest.fixture
def device(listed):
    with open_device(listed()) as device:
        yield device


@pytest.fixture
def images(tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (70, SIZE, SIZE, 3), dtype=np.uint8))
    return path
