"""A teacher of several networks, from parameters to the student's logits."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from pipeline.data.prepared import open_prepared
from pipeline.errors import ArtifactError
from pipeline.files import read_json
from pipeline.measure.accuracy import score
from pipeline.models.classifier import load_classifier
from pipeline.params import load_params
from pipeline.training.distillation_inputs import open_distillation_inputs
from pipeline.training.validation import compute_logits
from pipeline.views import make_views
from stages.cache_logits import cache_logits
from stages.finetune import finetune
from tests.stages.teacher_project import (
    CPU,
    FOLDERS,
    MEMBERS,
    files,
    interrupt_finetune,
    mean_of_networks,
    run,
    stages_in_this_process,
    write_project,
)


@pytest.fixture(autouse=True, scope="module")
def in_this_process() -> Iterator[None]:
    with stages_in_this_process():
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with its teacher and the cached logits; tests change only copies of it."""
    folder = tmp_path_factory.mktemp("finished")
    write_project(folder, finetune={"members": MEMBERS})
    run(folder, finetune)
    run(folder, cache_logits)
    return folder


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "project"))


def test_the_cached_logits_are_the_weighted_mean_of_all_networks(finished: Path) -> None:
    data = open_prepared(finished / "data/prepared")
    train, params = data.split("train"), load_params(finished / "params.yaml")
    cached = np.load(finished / "data/teacher_logits/logits.npy")
    for view in range(params.cache_logits.views):
        numbers = np.arange(len(train))
        pixels = make_views(train.images[numbers], numbers, view, params.views, CPU)
        expected = mean_of_networks(finished / "models/teacher", pixels)
        np.testing.assert_allclose(cached[view], expected, rtol=1e-4, atol=1e-5)


def test_without_a_cache_the_student_learns_from_the_same_mean(project: Path) -> None:
    run(project, cache_logits, "cache_logits.views=0")
    params = load_params(project / "params.yaml", ["cache_logits.views=0"])
    folders = ("data/prepared", "models/teacher", "data/teacher_logits")
    inputs = open_distillation_inputs(params, params.distill, *(project / f for f in folders))
    pixels = torch.rand(4, 3, 32, 32)
    assert inputs.task.teacher is not None
    logits = inputs.task.teacher.get_logits(0, np.arange(4), pixels)
    expected = mean_of_networks(project / "models/teacher", pixels)
    np.testing.assert_allclose(logits.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_report_has_the_accuracy_of_the_ensemble_and_of_every_member(finished: Path) -> None:
    report = read_json(finished / "reports/teacher.json")
    val = open_prepared(finished / "data/prepared").split("val")
    pixels = torch.from_numpy(val.images / np.float32(255)).permute(0, 3, 1, 2)
    mean = mean_of_networks(finished / "models/teacher", pixels)
    assert report["ensemble"]["val_accuracy"] == score(mean, val.labels).accuracy
    assert list(report["members"]) == ["0", "1"]
    for name, figures in zip(FOLDERS, (report, *report["members"].values()), strict=True):
        network, _ = load_classifier(finished / "models/teacher" / name, CPU)
        expected = score(compute_logits(network, val, CPU), val.labels)
        assert figures["val_accuracy"] == expected.accuracy
        assert figures["val_balanced_accuracy"] == expected.balanced_accuracy
    with (finished / "reports/teacher_history.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2  # of the main network


def test_members_change_nothing_in_the_main_network(project: Path) -> None:
    weights = project / "models/teacher/model.safetensors"
    with_members = weights.read_bytes()
    run(project, finetune, "finetune.members=[]")
    assert weights.read_bytes() == with_members
    assert sorted(files(project / "models/teacher")) == ["model.json", "model.safetensors"]
    assert not {"ensemble", "members"} & read_json(project / "reports/teacher.json").keys()
    assert "members" not in read_json(project / "models/teacher/model.json")


def test_a_finished_network_is_not_trained_again_after_an_interruption(project: Path) -> None:
    whole = files(project / "models/teacher")
    shutil.rmtree(project / "models/teacher")
    interrupt_finetune(project, networks=2)
    assert not (project / "models/teacher").exists()
    log = run(project, finetune)
    assert "[finetune] resuming after 2 epochs" in log
    assert "member 0: resuming after 2 epochs" in log
    assert "member 0: epoch" not in log
    assert "member 1: epoch 2/2" in log
    assert files(project / "models/teacher") == whole
    assert not (project / ".finch/checkpoints/finetune").exists()


def test_a_member_of_another_run_is_noticed(project: Path) -> None:
    teacher, ours = project / "models/teacher", project / "ours"
    shutil.copytree(teacher, ours)
    run(project, finetune, "finetune.lr=0.002")
    other = teacher.rename(project / "other")
    for name in FOLDERS[1:]:
        shutil.copytree(ours, teacher)
        shutil.rmtree(teacher / name)
        shutil.copytree(other / name, teacher / name)
        message = run(project, cache_logits, fails=True)
        assert f"was made from {name} " in message
        assert "`finch finetune`" in message
        shutil.rmtree(teacher)


def test_a_cache_of_other_weights_of_the_members_is_refused(project: Path) -> None:
    path = project / "models/teacher/model.json"
    record = json.loads(path.read_text())
    record["members"][1]["weight"] = 1.0
    path.write_text(json.dumps(record))
    params = load_params(project / "params.yaml")
    folders = ("data/prepared", "models/teacher", "data/teacher_logits")
    with pytest.raises(ArtifactError, match="was made from models/teacher"):
        open_distillation_inputs(params, params.distill, *(project / f for f in folders))


def test_a_member_whose_weights_are_missing_is_named(project: Path) -> None:
    members = [{"seed": 1}, {"pretrained": "file", "weights": "nowhere.pth"}]
    text = yaml.safe_dump(members, default_flow_style=True, width=10_000).strip()
    message = run(project, finetune, f"finetune.members={text}", fails=True)
    assert "finetune.members.1" in message
    assert "nowhere.pth" in message
    assert "epoch 1/" not in message  # before anything is trained
