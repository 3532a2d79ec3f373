import numpy as np
import pytest
import torch
from torch import nn

from pipeline.data.prepared import Split
from pipeline.errors import TrainingError
from pipeline.losses import CrossEntropy, KDLoss
from pipeline.params import Views
from pipeline.training.teacher import CachedTeacher
from tests.pipeline.training.toy_models import (
    SIZE,
    FixedNet,
    LossOf,
    RecordingLoss,
    classifier,
    labeled_by_index,
    recipe,
    run,
)


def test_non_finite_loss_raises_with_the_step():
    split, factors = labeled_by_index(6), iter([1.0] * 4 + [float("nan")])
    loss = LossOf(lambda logits: logits.mean() * next(factors))
    expected = r"epoch 2, step 5 \(batch 2 of 3\): the loss is nan, .*images \d, \d;"
    with pytest.raises(TrainingError, match=expected):
        run(classifier(FixedNet(6), 6), loss, recipe(batch_size=2), split, split)


class NaNNet(nn.Module):
    """Logits of 0; after a number of calls, NaN for white images."""

    def __init__(self, outputs, finite_calls=0):
        super().__init__()
        self.idle = nn.Parameter(torch.zeros(outputs))
        self.left = finite_calls

    def forward(self, pixels):
        self.left -= 1
        white = pixels.mean(dim=(1, 2, 3), keepdim=False) > 1.9
        bad = torch.where(white, torch.nan if self.left < 0 else 0.0, 0.0)
        return self.idle + bad[:, None]


def black_images(white, count=6):
    """Black images, except white ones at some indices; labeled with their indices."""
    images = np.zeros((count, SIZE, SIZE, 3), np.uint8)
    images[white] = 255
    return Split(images, np.arange(count))


PLAIN = Views(crop_scale=1.0, crop_ratio=1.0, brightness=0.0, contrast=0.0)


def images_of_step(split, step, batch_size):
    """Indices of the images of a step."""
    recorder = RecordingLoss()
    settings = recipe(batch_size=batch_size)
    run(classifier(FixedNet(len(split)), len(split)), recorder, settings, split, split)
    return [labels.tolist() for _, labels, _, _ in recorder.calls][step]


def test_non_finite_student_logits_raise_with_step_and_images():
    split = black_images([1, 4])
    teacher = CachedTeacher(np.zeros((2, 6, 6), np.float32))
    # The first epoch has three training batches and one validation batch.
    model = classifier(NaNNet(6, finite_calls=4), 6)
    with pytest.raises(TrainingError) as caught:
        run(model, KDLoss(), recipe(batch_size=2), split, black_images([]), PLAIN, teacher=teacher)
    step = next(s for s in (3, 4, 5) if {1, 4} & set(images_of_step(split, s, 2)))
    bad = ", ".join(str(i) for i in images_of_step(split, step, 2) if i in (1, 4))
    message = str(caught.value)
    assert message.startswith(f"epoch 2, step {step + 1} (batch {step - 2} of 3): the loss is nan")
    assert f"the student's logits for view 1 of images {bad} " in message
    assert "learning rate" in message


@pytest.mark.parametrize("student", [FixedNet, NaNNet])
def test_non_finite_teacher_logits_are_reported_first(student):
    split = black_images([1, 4])
    logits = np.zeros((2, 6, 6), np.float32)
    logits[0, 3, 2] = np.nan
    with pytest.raises(TrainingError) as caught:
        run(
            classifier(student(6), 6),
            KDLoss(),
            recipe(batch_size=6),
            split,
            black_images([]),
            PLAIN,
            teacher=CachedTeacher(logits),
        )
    message = str(caught.value)
    assert message.startswith("epoch 1, step 1 (batch 1 of 1): the loss is nan")
    assert "the teacher's logits for view 0 of images 3 " in message
    assert message.endswith("run cache_logits again")


def test_without_teacher_the_message_says_network():
    with pytest.raises(TrainingError, match="the network's logits for view 0 of images 1, 4 are"):
        run(
            classifier(NaNNet(6), 6),
            CrossEntropy(),
            recipe(batch_size=6),
            black_images([1, 4]),
            black_images([]),
            PLAIN,
        )


def test_long_list_of_images_is_truncated():
    split = black_images(list(range(20)), count=20)
    with pytest.raises(TrainingError, match=r"images 0, 1, 2, 3, 4, 5, 6, 7 and 12 more are not"):
        run(classifier(NaNNet(20), 20), CrossEntropy(), recipe(batch_size=20), split, split, PLAIN)


def test_non_finite_validation_logits_raise():
    """After the last step, only validation can detect non-finite weights."""
    model = classifier(NaNNet(6, finite_calls=1), 6)
    with pytest.raises(TrainingError, match=r"epoch 1, after its last step: .* validation"):
        settings = recipe(epochs=1, batch_size=6)
        run(model, CrossEntropy(), settings, black_images([]), black_images([2]), PLAIN)


def test_out_of_memory_error_names_parameters():
    def raise_out_of_memory(logits):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has …")

    split, settings = labeled_by_index(6), recipe(batch_size=6, accumulate=2)
    expected = r"recipe\.batch_size = 6: .*Tried to allocate 2\.00 GiB.*recipe\.accumulate = 2"
    for where, more in (("never", ""), ("always", ", or set run.data_on_device to never")):
        with pytest.raises(TrainingError, match=f"{expected}{more}$"):
            run(
                classifier(FixedNet(6), 6),
                LossOf(raise_out_of_memory),
                settings,
                split,
                split,
                env={"data_on_device": where},
            )
