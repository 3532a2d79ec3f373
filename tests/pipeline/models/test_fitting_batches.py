import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.models.fitting_batches import FittingBatches


class Memory:
    """Has room for a number of images; records every attempt."""

    def __init__(self, room):
        self.room, self.tried = room, []

    def __call__(self, rows):
        count = rows.stop - rows.start
        self.tried.append(count)
        if count > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return list(range(rows.start, rows.stop))


@given(st.integers(1, 40), st.integers(0, 100), st.integers(1, 40))
def test_every_image_is_run_once_in_order(size, count, room):
    memory, batches = Memory(room), FittingBatches(size)
    results = batches.run(memory, count)
    assert [image for part in results for image in part] == list(range(count))
    assert all(memory.tried.count(tried) == 1 for tried in memory.tried if tried > room)


def test_batches_are_as_large_as_allowed_where_they_fit():
    assert [len(part) for part in FittingBatches(4).run(Memory(4), 10)] == [4, 4, 2]


def test_a_size_that_did_not_fit_is_not_tried_again():
    memory, batches = Memory(3), FittingBatches(8)
    batches.run(memory, 8)
    assert memory.tried == [8, 4, 2, 2, 2, 2]
    batches.run(memory, 8)
    assert memory.tried[6:] == [2, 2, 2, 2]


def test_one_image_that_does_not_fit_is_an_error():
    memory = Memory(0)
    with pytest.raises(torch.OutOfMemoryError):
        FittingBatches(4).run(memory, 4)
    assert memory.tried == [4, 2, 1]
