"""Selection from recorded measurements, in a new process; see tests/recordings/."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.measure.evaluation import read_evaluation
from pipeline.params import load_params
from pipeline.shipping.select import select_candidate
from stages.app import main
from tests.small_project import PROJECT

RECORDINGS = PROJECT / "tests/recordings"
WITH, WITHOUT = RECORDINGS / "epyc_vnni.json", RECORDINGS / "epyc_without_vnni.json"


def replay(recording: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    shutil.copy(PROJECT / "params.yaml", folder)
    line = [sys.executable, "-m", "stages.replay", str(recording), *arguments]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize("recording", sorted(RECORDINGS.glob("*.json")), ids=lambda path: path.stem)
def test_what_ships_is_within_the_limits(recording: Path) -> None:
    rule = load_params(PROJECT / "params.yaml").bundle
    evaluation = read_evaluation(recording)
    selection = select_candidate(evaluation, rule)
    assert [v.name for v in selection.verdicts] == [m.name for m in evaluation.candidates]
    (shipped,) = (m for m in evaluation.candidates if m.name == selection.chosen)
    assert shipped.name == evaluation.reference or (
        shipped.ratio.low <= 1
        and shipped.ratio.value <= 1 + rule.latency_tolerance
        and shipped.drop.points <= rule.max_drop
        and shipped.drop.bound <= rule.max_drop_bound
    )


def test_a_candidate_that_may_be_as_fast_as_fp32_is_not_rejected_as_slower() -> None:
    rule = load_params(PROJECT / "params.yaml").bundle
    plain, without = (
        {v.name: v for v in select_candidate(read_evaluation(recording), rule).verdicts}
        for recording in (WITH, WITHOUT)
    )
    # Without VNNI, the ratio is 1.039 and its CI 0.996 to 1.084.
    assert plain["openvino-int8"].status == without["openvino-int8"].status == "accepted"
    assert "1.039" in without["openvino-int8"].reason
    assert plain["openvino-fp16"].status == without["openvino-fp16"].status == "rejected"
    assert plain["onnxruntime-int8"].status == without["onnxruntime-int8"].status == "rejected"


def test_a_recording_without_the_percentile_of_each_round_is_refused(tmp_path: Path) -> None:
    done = replay(WITH, "--set", "bundle.percentile=p99", folder=tmp_path)
    assert done.returncode == 1 and not done.stdout
    assert len(done.stderr.splitlines()) == 1 and "p99" in done.stderr


def test_a_limit_on_the_command_line_overrides_the_parameters(tmp_path: Path) -> None:
    done = replay(WITH, "--set", "bundle.max_model_mb=1", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    verdicts = dict(line.split(maxsplit=1) for line in done.stdout.splitlines()[1:])
    sizes = {c["name"]: c["bytes"] for c in json.loads(WITH.read_text())["candidates"]}
    assert set(verdicts) == set(sizes)
    too_large = {name for name, verdict in verdicts.items() if "max_model_mb 1" in verdict}
    assert too_large == {name for name, size in sizes.items() if size > 1e6}
    assert [v.split(":")[0] for v in verdicts.values()].count("shipped") == 1
    assert not list(tmp_path.glob("reports")), "a replay writes nothing"


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, "nowhere.json"), ("{", "nowhere.json"), ('{"host": 3}', "host")],
)
def test_an_invalid_recording_is_named(tmp_path: Path, text: str | None, expected: str) -> None:
    recording = tmp_path / "nowhere.json"
    if text is not None:
        recording.write_text(text)
    done = replay(recording, folder=tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and expected in done.stderr


def test_json_has_the_choice_and_every_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["replay", str(WITH), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    shipped = [each["name"] for each in found["verdicts"] if each["status"] == "shipped"]
    assert shipped == [found["chosen"]]
    assert (found["verdict"] is None) == (read_evaluation(WITH).class_images is None)
