import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import TrainingError
from pipeline.models.fitting_batches import FittingBatches

TORCH_SAYS = (  # torch 2.14
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB of "
    "which 1.06 GiB is free. Including non-PyTorch memory, this process has 6.72 GiB memory in "
    "use. Of the allocated memory 5.29 GiB is allocated by PyTorch, and 1.01 GiB is reserved."
)


class Memory:
    """Has room for a number of images; records every attempt."""

    def __init__(self, room):
        self.room, self.tried = room, []

    def __call__(self, rows):
        count = rows.stop - rows.start
        self.tried.append(count)
        if count > self.room:
            raise torch.OutOfMemoryError(TORCH_SAYS)
        return list(range(rows.start, rows.stop))


def batches_of(size):
    return FittingBatches("the student", torch.device("cuda", 1), size)


@given(st.integers(1, 40), st.integers(0, 100), st.integers(1, 40))
def test_every_image_is_run_once_in_order(size, count, room):
    memory, batches = Memory(room), batches_of(size)
    results = batches.run(memory, count)
    assert [image for part in results for image in part] == list(range(count))
    assert all(memory.tried.count(tried) == 1 for tried in memory.tried if tried > room)


def test_batches_are_as_large_as_allowed_where_they_fit():
    assert [len(part) for part in batches_of(4).run(Memory(4), 10)] == [4, 4, 2]


def test_a_size_that_did_not_fit_is_not_tried_again():
    memory, batches = Memory(3), batches_of(8)
    batches.run(memory, 8)
    assert memory.tried == [8, 4, 2, 2, 2, 2]
    batches.run(memory, 8)
    assert memory.tried[6:] == [2, 2, 2, 2]


def test_one_image_that_does_not_fit_is_an_error():
    memory = Memory(0)
    message = r"the student: .* of cuda:1 with one image \(Tried.* 2.00 GiB; GPU 0 .* free\);"
    with pytest.raises(TrainingError, match=message):
        batches_of(4).run(memory, 4)
    assert memory.tried == [4, 2, 1]
