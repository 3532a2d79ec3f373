import threading

import numpy as np
import pytest
import torch

from pipeline.losses import CrossEntropy, FiGKDLoss
from pipeline.params import Views
from pipeline.training.prefetcher import Prefetcher
from pipeline.training.task import TrainingTask
from pipeline.training.teacher import CachedTeacher
from tests.pipeline.training.toy_models import CPU, colored, recipe, run, small_net

STORED = np.arange(60, dtype=np.uint8).reshape(3, 20)


class Reading:
    """Reads rows of `STORED`; records view, numbers and thread of every read."""

    def __init__(self):
        self.reads = []

    def __call__(self, view, numbers):
        main = threading.current_thread() is threading.main_thread()
        self.reads.append((view, numbers.tolist(), "main" if main else "thread"))
        return STORED[view, numbers]


def test_rows_are_read_once_by_the_thread_in_the_step_before():
    reading = Reading()
    prefetcher = Prefetcher(reading, CPU)
    first, second = np.array([1, 4]), np.array([2, 3, 9])
    prefetcher.start(0, [first, second])
    prefetcher.start(1, [first])
    assert prefetcher.rows(0, first).tolist() == STORED[0, first].tolist()
    assert prefetcher.rows(0, second).tolist() == STORED[0, second].tolist()
    prefetcher.start(2, [])
    assert prefetcher.rows(1, first).tolist() == STORED[1, first].tolist()
    assert reading.reads == [
        (0, [1, 4], "thread"),
        (0, [2, 3, 9], "thread"),
        (1, [1, 4], "thread"),
    ]


def test_other_rows_are_read_when_they_are_needed():
    reading = Reading()
    prefetcher = Prefetcher(reading, CPU)
    prefetcher.start(0, [np.array([1])])
    prefetcher.start(0, [])
    assert prefetcher.rows(1, np.array([1])).tolist() == [21]
    assert prefetcher.rows(0, np.array([5])).tolist() == [5]
    assert [thread for *_, thread in reading.reads] == ["thread", "main", "main"]


def test_what_fails_in_the_thread_is_raised_in_the_step():
    def fail(view, numbers):
        raise OSError("Input/output error")

    prefetcher = Prefetcher(fail, CPU)
    prefetcher.start(0, [np.array([1])])
    prefetcher.start(0, [])
    with pytest.raises(OSError, match="Input/output error"):
        prefetcher.rows(0, np.array([1]))


@pytest.mark.parametrize(
    "options", [{}, {"accumulate": 3}, {"sampling": "balanced"}, {"mixup": 0.5}], ids=str
)
def test_training_reads_ahead_and_has_the_same_bits(monkeypatch, options):
    """All steps but the first of an epoch find their images read, except with mixed images."""
    threads = []

    def images(self, numbers):
        threads.append(threading.current_thread() is threading.main_thread())
        return read(self, numbers)

    read = TrainingTask.images
    monkeypatch.setattr(TrainingTask, "images", images)

    def weights():
        found = run(
            small_net(3),
            CrossEntropy(),
            recipe(epochs=2, batch_size=8, **options),
            colored(24, seed=1),
            colored(9, seed=2),
            Views(),
            env={"data_on_device": "never"},
        )
        return found.model.state_dict()

    ahead = weights()
    expected = 6 if "mixup" in options else 2 * options.get("accumulate", 1)
    assert sum(threads) == expected  # of 6 steps
    monkeypatch.setattr(Prefetcher, "start", lambda self, view, requests: None)
    for name, tensor in weights().items():
        assert torch.equal(ahead[name], tensor)


def test_packed_views_are_read_ahead():
    rng = np.random.default_rng(4)
    split = colored(24, seed=1)
    views = rng.integers(0, 256, (2, *split.images.shape), dtype=np.uint8)
    logits = rng.normal(size=(2, 24, 3)).astype(np.float16)
    threads = []

    class Recorded(CachedTeacher):
        def get_views(self, view, indices):
            threads.append(threading.current_thread() is threading.main_thread())
            return super().get_views(view, indices)

    run(
        small_net(3),
        FiGKDLoss(3),
        recipe(epochs=2, batch_size=8),
        split,
        colored(9, seed=2),
        Views(),
        teacher=Recorded(logits, views),
        env={"data_on_device": "never"},
    )
    assert sum(threads) == 2  # of 6 steps
