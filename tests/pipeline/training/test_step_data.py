import numpy as np
import pytest
import torch

from pipeline.data.prepared import Split
from pipeline.errors import TrainingError
from pipeline.losses import CrossEntropy, FiGKDLoss
from pipeline.params import Views
from pipeline.training import step_data
from pipeline.training.step_data import open_step_data
from pipeline.training.task import TrainingTask
from pipeline.training.teacher import CachedTeacher
from pipeline.training.unlabelled import UnlabelledImages
from tests.fake_gpu import GPU
from tests.pipeline.training.toy_models import CPU, SIZE, colored, recipe, run, small_net

SPLIT, VAL, OTHERS = colored(20, seed=1), colored(9, seed=2), colored(6, seed=3).images


def teacher(images=20, packed=False):
    rng = np.random.default_rng(4)
    views = rng.integers(0, 256, (2, images, SIZE, SIZE, 3), dtype=np.uint8)
    logits = rng.normal(size=(2, images, 3)).astype(np.float16)
    return CachedTeacher(logits, views if packed else None)


@pytest.mark.parametrize(
    "options",
    [
        {"teacher": teacher()},
        {"teacher": teacher(packed=True)},
        {"teacher": teacher(26), "unlabelled": UnlabelledImages(OTHERS, np.arange(6), 0.3)},
    ],
)
def test_where_the_data_are_does_not_change_a_bit(options):
    files, memory = (
        run(
            small_net(3),
            FiGKDLoss(3),
            recipe(accumulate=2),
            SPLIT,
            VAL,
            Views(quarter_turns=True),
            env={"data_on_device": where},
            **options,
        )
        for where in ("never", "always")
    )
    assert files.history == memory.history
    for name, tensor in files.model.state_dict().items():
        assert torch.equal(memory.model.state_dict()[name], tensor)


def small_task(images=SPLIT.images, **options):
    split = Split(images, SPLIT.labels)
    return TrainingTask(recipe(), CrossEntropy(), split, VAL, Views(), **options)


def test_images_that_are_shrunk_stay_in_files():
    large = np.repeat(np.repeat(SPLIT.images, 4, axis=1), 4, axis=2)
    found = open_step_data(small_task(large), CPU, "always")
    assert found.is_placed
    assert found.placed_images is None
    numbers = np.array([1, 4])
    np.testing.assert_array_equal(found.images(0, numbers), large[numbers])
    assert found.labels(numbers).tolist() == SPLIT.labels[numbers].tolist()


def test_auto_leaves_the_data_of_the_cpu_in_files():
    assert not open_step_data(small_task(), CPU, "auto").is_placed


def test_a_gpu_that_is_too_small_reads_from_files_and_says_so(monkeypatch):
    free, remarks = 2 * SPLIT.images.nbytes - 2, []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10 * free))
    assert not open_step_data(small_task(), GPU, "auto", remarks.append).is_placed
    (remark,) = remarks
    assert remark == (
        "the data, 0.00 GB, are read from files: they exceed 50% of the 0.00 GB that are free on "
        "cuda:0"
    )


def test_data_that_do_not_fit_are_an_error_if_they_must(monkeypatch):
    def raise_out_of_memory(parts, device):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(step_data, "copy_to_device", raise_out_of_memory)
    with pytest.raises(TrainingError, match=r"run\.data_on_device = always: .*; set it to auto"):
        open_step_data(small_task(), GPU, "always")
