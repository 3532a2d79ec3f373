"""Evaluations that are read again, and values that no measurement has."""

import copy
import csv
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from pipeline.errors import ArtifactError
from pipeline.files import write_json
from pipeline.measure.evaluation import read_evaluation, write_table

RECORDING = Path(__file__).parents[2] / "recordings/epyc_vnni.json"
VALUES = asdict(read_evaluation(RECORDING))


def read(tmp_path, values):
    (tmp_path / "local.json").write_text(json.dumps(values))
    return read_evaluation(tmp_path / "local.json")


def test_an_evaluation_survives_the_round_trip(tmp_path):
    evaluation = read_evaluation(RECORDING)
    write_json(tmp_path / "local.json", asdict(evaluation))
    assert read_evaluation(tmp_path / "local.json") == evaluation


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("accuracy", 7),
        ("accuracy", -0.1),
        ("accuracy", "good"),
        ("accuracy", None),
        ("accuracy", float("nan")),
        ("balanced_accuracy", 1.5),
        ("recalls", [2.0]),
        ("agreement", 1.01),
        ("calibration_error", -1),
        ("top5", 100),
        ("bytes", -1),
        ("files", ["model.onnx"]),
        ("throughput", {"sweep": [], "sustained": None}),
        ("throughput", None),
    ],
)
def test_an_impossible_value_of_a_model_is_refused(tmp_path, place, value):
    values = copy.deepcopy(VALUES)
    values["candidates"][1][place] = value
    with pytest.raises(ArtifactError) as caught:
        read(tmp_path, values)
    # Numbers that are not finite are no JSON, so they have no place.
    assert f"candidates.1.{place}" in str(caught.value) or value != value
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *(("images", 0), ("rounds", 0), ("threads", -1), ("half_width", -0.1)),
        *(("ended", "tired"), ("host", None), ("host", {}), ("candidates", {}), ("teacher", 3)),
    ],
)
def test_an_impossible_value_of_a_device_is_refused(tmp_path, place, value):
    with pytest.raises(ArtifactError, match=place):
        read(tmp_path, {**VALUES, place: value})


def test_the_table_has_a_row_per_model(tmp_path):
    evaluation = read_evaluation(RECORDING)
    write_table(tmp_path / "candidates.csv", [evaluation])
    with (tmp_path / "candidates.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == [m.name for m in evaluation.measured]
    first = evaluation.candidates[0]
    for column in ("accuracy", "agreement"):
        assert float(rows[0][column]) == pytest.approx(getattr(first, column), rel=1e-5)
    assert float(rows[0]["drop_points"]) == pytest.approx(first.drop.points)
