"""The logit cache on a GPU that computes no values: devices agree, and no batch waits for files."""

import numpy as np
import pytest
import torch

from pipeline.logit_cache import CacheSource, write_logit_cache, writer
from pipeline.logit_cache.fold_teachers import FoldTeachers
from pipeline.models.ensemble import Ensemble
from pipeline.models.inference import teacher_logits
from pipeline.params import CacheLogits
from pipeline.transfers import to_host
from tests.fake_gpu import GPU, fake_gpu, on_gpu
from tests.pipeline.logit_cache.small_cache import IMAGES, RECIPE, SIZE, key_of, prepare, teacher


def one():
    return on_gpu(teacher).eval()


def several():
    return Ensemble([one(), one()], (1.0, 3.0)).eval()


@pytest.mark.parametrize(
    ("build", "folds", "precision", "packed"),
    [
        (one, 0, torch.float32, None),
        (several, 0, torch.bfloat16, SIZE),
        (one, 2, torch.float16, SIZE // 2),
    ],
)
def test_a_batch_is_read_once(tmp_path, build, folds, precision, packed):
    data = prepare(tmp_path / "data")
    params = CacheLogits(views=1, batch_size=IMAGES, pack_views=packed is not None)
    with fake_gpu() as waits:
        whole, fold_teachers = build(), None
        if folds:
            numbers = np.arange(IMAGES) % folds
            fold_teachers = FoldTeachers(tuple(one() for _ in range(folds)), numbers, whole)
        key, before = key_of(data), len(waits.writes)
        source = CacheSource(whole, key, data, RECIPE, GPU, precision, fold_teachers, packed)
        write_logit_cache(tmp_path / "cache", source, params, work=tmp_path / "work")
    assert len(waits.writes) == before
    assert len(waits.reads) == 1 + params.pack_views  # the logits, and the views


def test_the_teacher_runs_on_the_next_batch_before_one_is_read(tmp_path, monkeypatch):
    events = []

    def run(*args):
        events.append("run")
        return teacher_logits(*args)

    def read(tensor):
        events.append("read")
        return to_host(tensor)

    monkeypatch.setattr(writer, "teacher_logits", run)
    monkeypatch.setattr(writer, "to_host", read)
    data = prepare(tmp_path / "data")
    with fake_gpu():
        source = CacheSource(one(), key_of(data), data, RECIPE, GPU)
        params = CacheLogits(views=1, batch_size=-(-IMAGES // 3))
        write_logit_cache(tmp_path / "cache", source, params, work=tmp_path / "work")
    assert events == ["run", "run", "read", "run", "read", "read"]
