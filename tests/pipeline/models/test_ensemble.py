from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import ArtifactError
from pipeline.models.classifier import (
    build_classifier,
    load_classifier,
    save_classifier,
    write_classifier,
)
from pipeline.models.ensemble import Ensemble, load_teacher
from pipeline.models.inference import teacher_logits
from pipeline.models.record import TeacherRecord, read_teacher

CPU = torch.device("cpu")
CLASSES = ("ape", "bee", "cat")
NAMES = ("test_efficientnet", "test_byobnet", "test_resnet")
WEIGHTS = (1.0, 2.5, 0.25)
DATA = "da" * 32
COMMON = {"data": DATA, "code": "c0" * 32, "reports": {}, "recipe": {}}


def network(name: str, seed: int = 0, classes: tuple[str, ...] = CLASSES):
    torch.manual_seed(seed)
    return build_classifier(name, classes, 32).eval()


def write_teacher(folder: Path, names: tuple[str, ...] = NAMES) -> TeacherRecord:
    members = []
    for index, (name, weight) in enumerate(zip(names[1:], WEIGHTS[1:], strict=False)):
        path = folder / "members" / str(index)
        path.mkdir(parents=True)
        digest = write_classifier(path, network(name), dict(COMMON))
        members.append({"weights_sha256": digest, "weight": weight})
    folder.mkdir(exist_ok=True)
    record = COMMON | ({"members": members} if members else {})
    write_classifier(folder, network(names[0]), record)
    return read_teacher(folder, DATA)


@pytest.fixture
def pixels(one_thread: None) -> torch.Tensor:
    return torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_teacher_answers_with_the_weighted_mean_of_its_networks(
    tmp_path: Path, pixels: torch.Tensor, precision: torch.dtype
) -> None:
    teacher = load_teacher(tmp_path, write_teacher(tmp_path), CPU)
    logits = teacher_logits(teacher, pixels, precision)
    each = [teacher_logits(network(name), pixels, precision).numpy() for name in NAMES]
    expected = np.average(np.stack(each).astype(np.float64), axis=0, weights=WEIGHTS)
    np.testing.assert_allclose(logits.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert logits.dtype == torch.float32
    assert not teacher.training


def test_a_teacher_without_members_is_its_network_and_named_by_its_weights(
    tmp_path: Path, pixels: torch.Tensor
) -> None:
    record = write_teacher(tmp_path, NAMES[:1])
    teacher = load_teacher(tmp_path, record, CPU)
    assert not isinstance(teacher, Ensemble)
    assert torch.equal(teacher(pixels), load_classifier(tmp_path, CPU)[0](pixels))
    assert record.sha256 == record.weights_sha256


def test_every_weight_and_network_is_in_the_name_of_the_teacher(tmp_path: Path) -> None:
    names = {write_teacher(tmp_path / "ours").sha256}
    info = json.loads((tmp_path / "ours/model.json").read_text())
    changes = [
        {"weights_sha256": "00" * 32},
        {"members": [info["members"][0] | {"weight": 7.0}, info["members"][1]]},
        {"members": [info["members"][0], info["members"][1] | {"weights_sha256": "00" * 32}]},
        {"members": info["members"][::-1]},
        {"members": []},
    ]
    for change in changes:
        (tmp_path / "model.json").write_text(json.dumps(info | change))
        names.add(read_teacher(tmp_path, DATA).sha256)
    assert len(names) == 1 + len(changes)


def test_a_member_of_another_run_is_refused(tmp_path: Path) -> None:
    record = write_teacher(tmp_path)
    save_classifier(tmp_path / "members/1", network(NAMES[2], seed=1), dict(COMMON))
    was = r"model\.json: was made from members/1 \w{12}, which is now \w{12}"
    with pytest.raises(ArtifactError, match=was):
        load_teacher(tmp_path, record, CPU)


def test_weights_of_another_run_in_the_folder_of_a_member_are_refused(tmp_path: Path) -> None:
    record = write_teacher(tmp_path)
    save_classifier(tmp_path / "other", network(NAMES[1], seed=1), dict(COMMON))
    (tmp_path / "other/model.safetensors").replace(tmp_path / "members/0/model.safetensors")
    with pytest.raises(ArtifactError, match=r"members/0/model\.safetensors.*does not match"):
        load_teacher(tmp_path, record, CPU)


def test_a_member_with_other_classes_is_refused(tmp_path: Path) -> None:
    record = write_teacher(tmp_path)
    path = tmp_path / "members/0/model.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps(info | {"classes": ["ape", "cat", "bee"]}))
    with pytest.raises(ArtifactError, match=r"members/0/model\.json.*other classes"):
        load_teacher(tmp_path, record, CPU)
