import numpy as np
import pytest
import torch
from torch import nn

from pipeline.data.prepared import Split
from pipeline.errors import TrainingError
from pipeline.losses import CrossEntropy, KDLoss
from pipeline.params import Views
from pipeline.training.teacher import CachedTeacher
from tests.pipeline.training.stand_ins import (
    SIZE,
    Fixed,
    LossOf,
    Spy,
    classifier,
    numbered,
    recipe,
    run,
)


def test_a_loss_that_is_not_finite_stops_training_and_names_the_step():
    split, factors = numbered(6), iter([1.0] * 4 + [float("nan")])
    loss = LossOf(lambda logits: logits.mean() * next(factors))
    expected = r"epoch 2, step 5 \(batch 2 of 3\): the loss is nan, .*images \d, \d;"
    with pytest.raises(TrainingError, match=expected):
        run(classifier(Fixed(6), 6), loss, recipe(batch_size=2), split, split)


class Brittle(nn.Module):
    """Logits of 0, and NaN for white images after a number of calls."""

    def __init__(self, outputs, answers=0):
        super().__init__()
        self.idle = nn.Parameter(torch.zeros(outputs))
        self.left = answers

    def forward(self, pixels):
        self.left -= 1
        white = pixels.mean(dim=(1, 2, 3), keepdim=False) > 1.9
        bad = torch.where(white, torch.nan if self.left < 0 else 0.0, 0.0)
        return self.idle + bad[:, None]


def spotted(whites, count=6):
    """Black images, some white; their labels are their indices."""
    images = np.zeros((count, SIZE, SIZE, 3), np.uint8)
    images[whites] = 255
    return Split(images, np.arange(count))


PLAIN = Views(crop_scale=1.0, crop_ratio=1.0, brightness=0.0, contrast=0.0)


def seen_in(split, step, batch_size):
    """The images of a step, in the order in which an loss gets their labels."""
    spy = Spy()
    settings = recipe(batch_size=batch_size)
    run(classifier(Fixed(len(split)), len(split)), spy, settings, split, split)
    return [labels.tolist() for _, labels, _, _ in spy.steps][step]


def test_a_student_that_goes_bad_is_named_with_step_and_images():
    split = spotted([1, 4])
    answers = CachedTeacher(np.zeros((2, 6, 6), np.float32))
    # Three batches in the first epoch, then one of validation images, then the fifth answer.
    model = classifier(Brittle(6, answers=4), 6)
    with pytest.raises(TrainingError) as caught:
        run(model, KDLoss(), recipe(batch_size=2), split, spotted([]), PLAIN, teacher=answers)
    step = next(s for s in (3, 4, 5) if {1, 4} & set(seen_in(split, s, 2)))
    bad = ", ".join(str(i) for i in seen_in(split, step, 2) if i in (1, 4))
    message = str(caught.value)
    assert message.startswith(f"epoch 2, step {step + 1} (batch {step - 2} of 3): the loss is nan")
    assert f"the student's logits on view 1 of images {bad} " in message
    assert "learning rate" in message


@pytest.mark.parametrize("student", [Fixed, Brittle])
def test_a_teacher_that_goes_bad_is_named_even_if_the_student_does_too(student):
    split = spotted([1, 4])
    logits = np.zeros((2, 6, 6), np.float32)
    logits[0, 3, 2] = np.nan
    with pytest.raises(TrainingError) as caught:
        run(
            classifier(student(6), 6),
            KDLoss(),
            recipe(batch_size=6),
            split,
            spotted([]),
            PLAIN,
            teacher=CachedTeacher(logits),
        )
    message = str(caught.value)
    assert message.startswith("epoch 1, step 1 (batch 1 of 1): the loss is nan")
    assert "the teacher's logits on view 0 of images 3 " in message
    assert message.endswith("run cache_logits again")


def test_without_a_teacher_the_network_in_training_is_no_student():
    with pytest.raises(TrainingError, match="the network's logits on view 0 of images 1, 4 are"):
        run(
            classifier(Brittle(6), 6),
            CrossEntropy(),
            recipe(batch_size=6),
            spotted([1, 4]),
            spotted([]),
            PLAIN,
        )


def test_a_long_list_of_images_is_cut():
    split = spotted(list(range(20)), count=20)
    with pytest.raises(TrainingError, match=r"images 0, 1, 2, 3, 4, 5, 6, 7 and 12 more are not"):
        run(classifier(Brittle(20), 20), CrossEntropy(), recipe(batch_size=20), split, split, PLAIN)


def test_weights_spoilt_by_the_last_step_are_not_returned():
    """Nothing is result on them any more, so only the validation images can tell."""
    model = classifier(Brittle(6, answers=1), 6)
    with pytest.raises(TrainingError, match=r"epoch 1, after its last step: .* validation"):
        settings = recipe(epochs=1, batch_size=6)
        run(model, CrossEntropy(), settings, spotted([]), spotted([2]), PLAIN)


def test_a_lack_of_memory_names_the_parameters_to_change():
    def run_out(logits):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has …")

    split, settings = numbered(6), recipe(batch_size=6, accumulate=2)
    expected = r"recipe\.batch_size = 6: .*CUDA out of memory.*recipe\.accumulate = 2"
    with pytest.raises(TrainingError, match=expected):
        run(classifier(Fixed(6), 6), LossOf(run_out), settings, split, split)
