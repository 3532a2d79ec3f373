"""Training images that are answered by teachers that did not learn from them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.prepared import open_prepared
from pipeline.files import read_json
from pipeline.params import load_params
from pipeline.views import make_views
from stages.cache_logits import cache_logits
from stages.finetune import finetune
from tests.stages.teacher_project import (
    CPU,
    FOLDERS,
    IMAGES,
    MEMBERS,
    files,
    interrupt_finetune,
    mean_of_networks,
    run,
    stages_in_this_process,
    write_project,
)

FOLDS = 3
SECTIONS = {
    "finetune": {"members": MEMBERS[:1], "epochs": 1},
    "distill": {"epochs": 1},
    "cache_logits": {"folds": FOLDS},
}
NETWORKS = FOLDERS[:2]


@pytest.fixture(autouse=True, scope="module")
def in_this_process() -> Iterator[None]:
    with stages_in_this_process():
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with its teachers and the cached logits; tests change only copies of it."""
    folder = tmp_path_factory.mktemp("finished")
    write_project(folder, **SECTIONS)
    run(folder, finetune)
    run(folder, cache_logits)
    return folder


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "project"))


def fold_of(project: Path) -> np.ndarray:
    return np.load(project / "models/teacher/folds/fold_of.npy")


def weights(project: Path, fold: int) -> list[bytes]:
    folder = project / "models/teacher/folds" / str(fold)
    return [(folder / name / "model.safetensors").read_bytes() for name in NETWORKS]


def test_every_image_is_answered_by_the_teacher_of_its_fold(finished: Path) -> None:
    train = open_prepared(finished / "data/prepared").split("train")
    params = load_params(finished / "params.yaml")
    cached = np.load(finished / "data/teacher_logits/logits.npy")
    folds, correct = fold_of(finished), 0
    for view in range(params.cache_logits.views):
        for fold in range(FOLDS):
            images = np.flatnonzero(folds == fold)
            pixels = make_views(train.images[images], images, view, params.views, CPU)
            teacher = finished / "models/teacher/folds" / str(fold)
            expected = mean_of_networks(teacher, pixels, members=1)
            np.testing.assert_allclose(cached[view, images], expected, rtol=1e-4, atol=1e-5)
            correct += (expected.argmax(1) == train.labels[images]).sum()
    info = read_json(finished / "data/teacher_logits/cache.json")
    assert info["train_accuracy"] == correct / (params.cache_logits.views * IMAGES)


def test_no_teacher_of_a_fold_learned_from_its_images(finished: Path, tmp_path: Path) -> None:
    """An image that changes changes all teachers but the one that answers for it."""
    image = 5
    write_project(tmp_path, image, **SECTIONS)
    run(tmp_path, finetune)
    np.testing.assert_array_equal(fold_of(tmp_path), fold_of(finished))
    for fold in range(FOLDS):
        pairs = zip(weights(tmp_path, fold), weights(finished, fold), strict=True)
        for ours, theirs in pairs:
            assert (ours == theirs) == (fold_of(finished)[image] == fold)


def test_groups_are_in_one_fold_and_the_folds_are_reported(finished: Path) -> None:
    folds, train = fold_of(finished), open_prepared(finished / "data/prepared").split("train")
    assert train.groups is not None
    for group in np.unique(train.groups):
        assert len(set(folds[train.groups == group].tolist())) == 1
    report = read_json(finished / "reports/teacher.json")["folds"]
    sizes = np.bincount(folds, minlength=FOLDS).tolist()
    assert [report[str(fold)]["images"] for fold in range(FOLDS)] == sizes
    assert min(sizes) > 0


def test_folds_change_nothing_in_the_teacher_that_is_exported(project: Path) -> None:
    with_folds = files(project / "models/teacher")
    run(project, finetune, "cache_logits.folds=0")
    without = files(project / "models/teacher")
    assert not any(name.startswith("folds") for name in without)
    for name in NETWORKS:
        path = f"{name}/model.safetensors".lstrip("/")
        assert without[path] == with_folds[path]


def test_a_finished_fold_is_not_trained_again_after_an_interruption(project: Path) -> None:
    whole = files(project / "models/teacher")
    shutil.rmtree(project / "models/teacher")
    interrupt_finetune(project, networks=5)  # all images, one fold, and one network
    log = run(project, finetune)
    assert "fold 1: resuming after 1 epochs" in log
    assert "fold 1: epoch" not in log
    assert "fold 1, member 0: epoch 1/1" in log
    assert files(project / "models/teacher") == whole


def test_a_teacher_of_another_fold_or_run_is_noticed(project: Path) -> None:
    folds = project / "models/teacher/folds"
    (folds / "0").rename(folds / "kept")
    (folds / "1").rename(folds / "0")
    (folds / "kept").rename(folds / "1")
    message = run(project, cache_logits, fails=True)
    assert "was made from folds/0 " in message
    assert "`finch finetune`" in message


def test_another_member_in_a_fold_is_noticed(project: Path) -> None:
    folds = project / "models/teacher/folds"
    shutil.rmtree(folds / "2/members/0")
    shutil.copytree(folds / "1/members/0", folds / "2/members/0")
    message = run(project, cache_logits, fails=True)
    assert "folds/2/model.json: was made from members/0 " in message


def test_other_folds_of_the_images_are_noticed(project: Path) -> None:
    path = project / "models/teacher/folds/fold_of.npy"
    np.save(path, np.roll(np.load(path), 2))
    message = run(project, cache_logits, fails=True)
    assert "was made from folds/fold_of.npy " in message


@pytest.mark.parametrize("folds", [0, 2])
def test_a_teacher_that_was_trained_for_other_folds_is_refused(project: Path, folds: int) -> None:
    message = run(project, cache_logits, f"cache_logits.folds={folds}", fails=True)
    assert f"was made with cache_logits.folds = 3, which is now {folds}" in message
    assert "`finch finetune`" in message
