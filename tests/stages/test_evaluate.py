"""Which measurements are in reports/evaluations before, during and after the stage."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.errors import ArtifactError, DeviceError
from pipeline.files import write_json
from pipeline.measure import evaluate as measuring
from pipeline.measure.evaluation import read_device, read_evaluation
from pipeline.measure.host import Unreachable, describe_host
from stages import command
from stages.evaluate import evaluate
from tests.small_project import PROJECT

RECORDING = read_evaluation(Path(__file__).parents[1] / "recordings/epyc_vnni.json")
DEVICES = "evaluate.devices=[{name: local}, {name: pi, host: pi}]"


class Stage:
    """The stage in a folder, with measurements that are made up."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.evaluations = folder, folder / "reports/evaluations"
        self.current = True
        monkeypatch.chdir(folder)
        monkeypatch.setattr(command, "raise_interrupts", lambda: None)
        monkeypatch.setattr("pipeline.data.prepared.open_prepared", lambda _: None)
        monkeypatch.setattr("pipeline.measure.models.check_origin", lambda _: None)
        monkeypatch.setattr(measuring, "is_current", lambda *_: self.current)
        shutil.copy(PROJECT / "params.yaml", folder)
        self.hosts = {"local": describe_host(), "pi": describe_host()}
        self.monkeypatch = monkeypatch

    def measure(self, device: str, half_width: float) -> None:
        evaluation = replace(RECORDING, device=device, half_width=half_width)
        for folder in (self.evaluations, self.folder / ".finch/evaluations"):
            write_json(folder / f"{device}.json", asdict(evaluation))

    def run(self, *measured: str, error: Exception | None = None) -> Result:
        def evaluate_devices(*_):
            for device in measured:
                yield replace(RECORDING, device=device, half_width=0.5)
            if error:
                raise error

        self.monkeypatch.setattr(measuring, "evaluate_devices", evaluate_devices)
        facts = {name: asdict(host) for name, host in self.hosts.items()}
        write_json(self.folder / "reports/hosts.json", facts)
        return CliRunner().invoke(evaluate, ["--set", DEVICES])

    def found(self) -> dict[str, float]:
        """Half-widths by device, which tell measurements apart."""
        files = sorted(self.evaluations.glob("*.json"))
        return {path.stem: json.loads(path.read_text())["half_width"] for path in files}


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage(tmp_path, monkeypatch)
    for device in ("local", "pi", "other"):
        stage.measure(device, 0.25)
    return stage


def test_new_measurements_replace_all_earlier_ones(stage: Stage) -> None:
    assert stage.run("local", "pi").exit_code == 0
    assert stage.found() == {"local": 0.5, "pi": 0.5}
    with (stage.folder / "reports/candidates.csv").open() as file:
        assert {row["device"] for row in csv.DictReader(file)} == {"local", "pi"}


def test_earlier_measurements_stay_if_nothing_new_is_measured(stage: Stage) -> None:
    assert stage.run(error=DeviceError("pi", "failed")).exit_code == 1
    assert stage.found() == {"local": 0.25, "other": 0.25, "pi": 0.25}
    assert stage.run("local", error=DeviceError("pi", "failed")).exit_code == 1
    assert stage.found() == {"local": 0.5, "other": 0.25, "pi": 0.25}


def test_a_file_that_is_no_host_list_removes_nothing(stage: Stage) -> None:
    stage.hosts = {"local": Unreachable(3)}  # type: ignore[arg-type]
    assert stage.run("local").exit_code == 1
    assert len(stage.found()) == 3


@pytest.mark.parametrize("current", [True, False])
def test_measurements_of_an_offline_device_are_kept_if_its_inputs_are_the_same(
    stage: Stage, current: bool
) -> None:
    stage.hosts["pi"], stage.current = Unreachable("cannot be reached"), current
    shutil.rmtree(stage.evaluations)  # DVC removes outputs before it runs a stage
    assert stage.run("local").exit_code == 0
    assert stage.found() == {"local": 0.5, **({"pi": 0.25} if current else {})}
    if current:
        assert read_device(stage.folder / "reports", "pi").half_width == 0.25
    else:
        with pytest.raises(DeviceError, match=r"^pi: .*cannot be reached.*finch probe"):
            read_device(stage.folder / "reports", "pi")
    with pytest.raises(ArtifactError, match="is missing"):
        read_device(stage.folder / "reports", "elsewhere")
