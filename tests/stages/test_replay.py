"""Measurements that were recorded, judged by a process of its own; see tests/recordings/."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.measure.evaluation import read_evaluation
from pipeline.params import load_params
from pipeline.shipping.choice import choose
from tests.small_project import PROJECT

RECORDINGS = PROJECT / "tests/recordings"
WITH, WITHOUT = RECORDINGS / "epyc_vnni.json", RECORDINGS / "epyc_without_vnni.json"


def replay(recording: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    shutil.copy(PROJECT / "params.yaml", folder)
    line = [sys.executable, "-m", "stages.replay", str(recording), *arguments]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize("recording", [WITH, WITHOUT], ids=lambda path: path.stem)
@pytest.mark.parametrize("percentile", ["p50", "p90", "p99"])
def test_what_ships_is_neither_slower_nor_outside_the_drop(
    recording: Path, percentile: str
) -> None:
    rule = load_params(PROJECT / "params.yaml").bundle.model_copy(update={"percentile": percentile})
    evaluation = read_evaluation(recording)
    selection = choose(evaluation, rule)
    assert [v.name for v in selection.verdicts] == [m.name for m in evaluation.candidates]
    (shipped,) = (m for m in evaluation.candidates if m.name == selection.chosen)
    assert shipped.name == evaluation.reference or (
        shipped.ratio.value <= 1
        and shipped.drop.points <= rule.max_drop
        and shipped.drop.high <= rule.max_drop_bound
    )


def test_the_same_file_is_accepted_with_vnni_and_rejected_without() -> None:
    rule = load_params(PROJECT / "params.yaml").bundle
    plain, without = (
        {v.name: v for v in choose(read_evaluation(recording), rule).verdicts}
        for recording in (WITH, WITHOUT)
    )
    assert plain["openvino-int8"].status == "accepted"
    assert without["openvino-int8"].status == "rejected"
    assert "slower than onnxruntime-fp32: 1.039 times" in without["openvino-int8"].reason
    assert plain["onnxruntime-int8"].status == without["onnxruntime-int8"].status == "rejected"


def test_a_limit_set_on_the_command_line_is_what_counts(tmp_path: Path) -> None:
    told = replay(WITH, "--set", "bundle.max_model_mb=1", folder=tmp_path)
    assert told.returncode == 0, told.stderr
    verdicts = dict(line.split(maxsplit=1) for line in told.stdout.splitlines()[1:])
    sizes = {c["name"]: c["bytes"] for c in json.loads(WITH.read_text())["candidates"]}
    assert set(verdicts) == set(sizes)
    too_large = {name for name, verdict in verdicts.items() if "1 MB allowed" in verdict}
    assert too_large == {name for name, size in sizes.items() if size > 1e6}
    assert [v.split(":")[0] for v in verdicts.values()].count("shipped") == 1
    assert not list(tmp_path.glob("reports")), "a replay writes nothing"


@pytest.mark.parametrize(
    ("text", "says"),
    [(None, "nowhere.json"), ("{", "nowhere.json"), ('{"device": 3}', "is no evaluation (")],
)
def test_what_is_no_recording_is_named(tmp_path: Path, text: str | None, says: str) -> None:
    recording = tmp_path / "nowhere.json"
    if text is not None:
        recording.write_text(text)
    told = replay(recording, folder=tmp_path)
    assert told.returncode == 1
    assert len(told.stderr.splitlines()) == 1 and says in told.stderr
