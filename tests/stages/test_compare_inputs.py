"""What `finch compare` reads, and what it refuses."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.errors import ArtifactError, ParameterError
from pipeline.logit_cache import CacheSource, cache_key, write_logit_cache
from pipeline.models.classifier import Classifier, Spec, save_classifier
from pipeline.params import Compare, load_params
from stages.command import Context
from stages.compare import _check_students, _open
from stages.workspace import Workspace
from tests.prepared_data import write_prepared
from tests.small_project import PROJECT

CPU = torch.device("cpu")
CLASSES, SIZE, IMAGES = ("ant", "bee"), 8, 24
ENTRIES = [{"name": name, "set": {"method": name}, "tune": {}} for name in ("kd", "dkd")]
COMPARE = Compare.model_validate({"entries": ENTRIES, "trials": 1, "folds": 3, "fold_block": 1})
# Each image belongs together with one that is far away.
GROUPS = np.arange(IMAGES) % (IMAGES // 2)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """Prepared data, a teacher and a cache of two views in a workspace."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (IMAGES, SIZE, SIZE, 3), dtype=np.uint8)
    labels = np.arange(IMAGES) // 3 % 2
    splits = dict.fromkeys(("train", "val", "test"), (pixels, labels))
    paths = Workspace(tmp_path)
    data = write_prepared(paths.prepared, CLASSES, splits, dict.fromkeys(splits, GROUPS))
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, len(CLASSES)))
    teacher = Classifier(backbone, Spec("tiny", CLASSES, SIZE, (0.5,) * 3, (0.25,) * 3)).eval()
    record = {"data": data.fingerprint, "code": "c" * 64, "reports": {}, "recipe": {}}
    save_classifier(paths.teacher, teacher, record)
    params = load_params(PROJECT / "params.yaml", ["cache_logits.views=2"])
    weights = json.loads((paths.teacher / "model.json").read_text())["weights_sha256"]
    key = cache_key(weights, data, params.views, SIZE)
    source = CacheSource(teacher, key, data, params.views, CPU)
    write_logit_cache(paths.teacher_logits, source, params.cache_logits, work=tmp_path / "work")
    return Context(params, paths, logging.getLogger("compare"), PROJECT / "params.yaml", ())


def with_params(context: Context, *changes: str) -> Context:
    params = load_params(PROJECT / "params.yaml", ["cache_logits.views=2", *changes])
    return Context(params, context.paths, context.log, context.params_path, ())


def test_no_group_is_divided_between_folds(context: Context) -> None:
    setup = _open(context, COMPARE, CPU)
    assert sorted(np.concatenate(setup.folds).tolist()) == list(range(IMAGES))
    parts = [set(GROUPS[fold].tolist()) for fold in setup.folds]
    assert sum(len(part) for part in parts) == IMAGES // 2
    assert [len(fold) for fold in setup.folds] == [8, 8, 8]


@pytest.mark.parametrize(
    "change",
    [
        "cache_logits.views=1",
        "cache_logits.views=3",
        "cache_logits.dtype=float32",
        "cache_logits.pack_views=true",
        "cache_logits.precision=bf16",
    ],
)
def test_a_cache_with_other_parameters_is_refused(context: Context, change: str) -> None:
    key, _, value = change.partition("=")
    with pytest.raises(ArtifactError, match=rf"cache\.json: .*{key} = .*expected (?i:{value})"):
        _open(with_params(context, change), COMPARE, CPU)


def test_a_cache_of_other_views_is_refused(context: Context) -> None:
    with pytest.raises(ArtifactError, match=r"cache\.json: was made from views .*, which is now"):
        _open(with_params(context, "views.saturation=0.9"), COMPARE, CPU)


def test_a_teacher_of_other_data_is_refused(context: Context) -> None:
    path = context.paths.teacher / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"data": "d" * 64}))
    with pytest.raises(ArtifactError, match=r"model\.json: was made from data/prepared d+, which"):
        _open(context, COMPARE, CPU)


def test_every_student_is_tried_before_any_training(context: Context) -> None:
    def check(entry: dict[str, object]) -> None:
        config = COMPARE.model_validate({"entries": [*ENTRIES, entry], "trials": 1, "folds": 3})
        info = SimpleNamespace(image_size=32, channels=3, aspect_ratio=1.0)
        _check_students(context, config, SimpleNamespace(info=info))

    check({"name": "other", "set": {"model": "test_efficientnet"}})
    with pytest.raises(ParameterError, match=r"entry 'other': distill.*test_efficientnet"):
        check({"name": "other", "set": {"model": "test_eficientnet"}})
