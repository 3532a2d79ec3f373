"""Passes over images."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.training.passes import draw_in_passes


@given(images=st.integers(1, 30), count=st.integers(0, 70), epochs=st.integers(1, 4))
def test_no_image_is_drawn_again_before_all_others(images, count, epochs):
    numbers = 100 + np.arange(images)
    drawn = np.concatenate([draw_in_passes(numbers, count, e, 0, (1,)) for e in range(epochs)])
    assert len(drawn) == epochs * count
    for start in range(0, len(drawn) - images + 1, images):
        assert sorted(drawn[start : start + images]) == numbers.tolist()
    times = Counter(dict.fromkeys(numbers.tolist(), 0))
    times.update(drawn.tolist())
    assert max(times.values()) - min(times.values()) <= 1


def test_every_pass_has_another_order_as_have_other_seeds_and_streams():
    def draw(epoch, seed, *stream):
        return tuple(draw_in_passes(np.arange(20), 20, epoch, seed, stream).tolist())

    assert draw(1, 2, 3) == draw(1, 2, 3)
    assert len({draw(1, 2, 3), draw(2, 2, 3), draw(1, 1, 3), draw(1, 2, 4), draw(1, 2, 3, 1)}) == 5


def test_no_images_are_drawn_from_none():
    assert draw_in_passes(np.array([], dtype=np.int64), 0, 3, 0, (1,)).tolist() == []
