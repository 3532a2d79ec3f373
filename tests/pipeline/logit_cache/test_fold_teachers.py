import numpy as np
import torch

from pipeline.logit_cache.fold_teachers import FoldTeachers
from tests.pipeline.logit_cache.small_cache import CLASSES, SIZE, teacher


def test_images_that_no_teacher_learned_from_are_answered_by_the_whole_one():
    """Such as those without labels, whose numbers follow those of the training images."""
    ones, twos, whole = (teacher(scale) for scale in (1.0, 2.0, 3.0))
    folds = FoldTeachers((ones, twos), np.array([0, 1, 1]), whole)
    pixels = torch.rand(5, 3, SIZE, SIZE)
    answers = folds.logits(pixels, np.array([2, 0, 4, 1, 3]), torch.float32)
    assert answers.shape == (5, len(CLASSES))
    with torch.inference_mode():
        for row, expected in enumerate((twos, ones, whole, twos, whole)):
            torch.testing.assert_close(answers[row], expected(pixels[row : row + 1])[0])
