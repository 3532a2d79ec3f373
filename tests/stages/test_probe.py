"""Devices that can and cannot be used, in reports/hosts.json."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.errors import ArtifactError
from pipeline.measure.host import Unreachable, describe_host, read_hosts
from stages import command
from stages.probe import probe
from tests.small_project import PROJECT


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs the stage with some devices."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "raise_interrupts", lambda: None)

    shutil.copy(PROJECT / "params.yaml", tmp_path)

    def run(devices: str) -> tuple[dict[str, object], str]:
        done = CliRunner().invoke(probe, ["--set", f"evaluate.devices={devices}"])
        assert done.exit_code == 0, done.output
        return read_hosts(tmp_path / "reports/hosts.json"), done.output

    return run


def test_a_device_that_is_off_does_not_stop_the_others(run) -> None:
    hosts, output = run("[{name: pi, host: 127.0.0.1, port: 1}, {name: local}]")
    assert hosts["local"] == describe_host()
    assert isinstance(hosts["pi"], Unreachable)
    assert "127.0.0.1" in hosts["pi"].unreachable
    assert "pi: " in output and "will not be measured" in output


@pytest.mark.parametrize(
    "entry",
    [None, 3, {}, {"unreachable": 3}, {**asdict(describe_host()), "packages": ["numpy"]}],
)
def test_an_invalid_host_is_one_line(tmp_path: Path, entry: object) -> None:
    path = tmp_path / "hosts.json"
    path.write_text(json.dumps({"local": entry}))
    with pytest.raises(ArtifactError, match="local") as caught:
        read_hosts(path)
    assert "\n" not in str(caught.value)
