import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.class_order import order_classes
from pipeline.params import ClassOrder


def answers(means, per_class=6, views=3, noise=0.05, seed=0):
    """Logits [views, n, classes] of a teacher whose mean answer to each class is given."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(means)), per_class))
    return labels, means[labels] + noise * rng.standard_normal((views, len(labels), len(means)))


@given(
    st.integers(3, 12),
    st.sampled_from(["index", "similarity", "random"]),
    st.integers(0, 100),
    st.sampled_from([np.float16, np.float32]),
)
def test_every_order_is_a_permutation(classes, kind, seed, dtype):
    rng = np.random.default_rng(seed)
    labels, logits = answers(rng.standard_normal((classes, classes)) * 4, seed=seed)
    order = order_classes(ClassOrder(kind=kind, seed=seed), labels, logits.astype(dtype))
    assert sorted(order) == list(range(classes))
    assert {type(place) for place in order} == {int}


@given(hnp.arrays(np.float64, (2, 12, 4), elements=st.floats(-50, 50)))
def test_the_index_order_ignores_the_teacher(logits):
    labels = np.arange(12) % 4
    assert order_classes(ClassOrder(kind="index"), labels, logits) == [0, 1, 2, 3]


@pytest.mark.parametrize("seed", range(8))
def test_similarity_puts_planted_look_alikes_next_to_each_other(seed):
    classes = 10
    pairs = np.random.default_rng(seed).permutation(classes).reshape(-1, 2)
    means = np.eye(classes) * 8
    for one, other in pairs:
        means[one, other] = means[other, one] = 6
    labels, logits = answers(means, seed=seed)
    order = order_classes(ClassOrder(kind="similarity"), labels, logits)
    place = {label: position for position, label in enumerate(order)}
    assert all(abs(place[one] - place[other]) == 1 for one, other in pairs.tolist())


@pytest.mark.parametrize("seed", range(8))
def test_similarity_finds_a_line_of_classes_that_the_index_hides(seed):
    # Only the optimal leaf ordering finds it: the tree alone leaves the branches turned at will.
    classes = 9
    line = np.random.default_rng(seed).permutation(classes)
    place = np.argsort(line)
    means = 8 * np.exp(-(((place[:, None] - place) / 1.5) ** 2))
    labels, logits = answers(means, noise=0.01, seed=seed)
    order = order_classes(ClassOrder(kind="similarity"), labels, logits)
    assert order in (line.tolist(), line[::-1].tolist())


def test_similarity_sees_neither_an_offset_nor_the_scale_of_a_class():
    rng = np.random.default_rng(0)
    means = rng.standard_normal((7, 7)) * 3
    labels, logits = answers(means, noise=0)
    moved = logits * rng.uniform(0.5, 2, 7)[labels][:, None] + rng.normal(size=7)[labels][:, None]
    similarity = ClassOrder(kind="similarity")
    assert order_classes(similarity, labels, logits) == order_classes(similarity, labels, moved)


def test_a_random_order_hangs_on_the_seed_alone():
    one, other = (answers(np.random.default_rng(s).standard_normal((20, 20))) for s in (0, 1))
    orders = [order_classes(ClassOrder(kind="random", seed=s), *one) for s in range(5)]
    assert len({tuple(order) for order in orders}) == 5
    again = [order_classes(ClassOrder(kind="random", seed=s), *other) for s in range(5)]
    assert again == orders


@pytest.mark.parametrize("kind", ["similarity", "random"])
def test_two_classes_have_nothing_to_order(kind):
    labels, logits = answers(np.eye(2))
    assert order_classes(ClassOrder(kind=kind), labels, logits) == [0, 1]
