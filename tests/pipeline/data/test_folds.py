import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.folds import assign_folds
from pipeline.data.prepared import Split
from pipeline.errors import DataError, ParameterError

CLASSES = ("ape", "bee", "cat")


def split(labels, groups=None):
    images = np.zeros((len(labels), 1, 1, 3), np.uint8)
    return Split(images, np.asarray(labels), None if groups is None else np.asarray(groups))


@given(st.data(), st.integers(2, 6), st.integers(0, 5))
def test_groups_stay_together_and_no_class_is_in_one_fold(data, count, seed):
    of_group = data.draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), min_size=12))
    labels = np.repeat([label for label, _ in of_group], [size for _, size in of_group])
    groups = np.repeat(np.arange(len(of_group)), [size for _, size in of_group])
    order = np.random.default_rng(seed).permutation(len(labels))
    train = split(labels[order], groups[order])
    classes = CLASSES[: labels.max() + 1]
    try:
        folds = assign_folds(train, classes, count, seed)
    except DataError:  # the classes of so few groups
        assert min(sum(label == known for label, _ in of_group) for known in range(3)) < 3
        return
    assert set(folds.tolist()) == set(range(count))
    for group in range(len(of_group)):
        assert len(set(folds[train.groups == group].tolist())) == 1
    for label in set(labels.tolist()):
        assert len(set(folds[train.labels == label].tolist())) > 1
    np.testing.assert_array_equal(folds, assign_folds(train, classes, count, seed))


def test_folds_have_the_class_proportions_of_all_images():
    labels = np.repeat([0, 1, 2], [50, 20, 10])
    folds = assign_folds(split(np.random.default_rng(0).permutation(labels)), CLASSES, 5, 0)
    labels = np.random.default_rng(0).permutation(labels)
    for fold in range(5):
        assert np.bincount(labels[folds == fold]).tolist() == [10, 4, 2]


def test_the_seed_changes_the_folds():
    train = split([0, 1, 2] * 20)
    first, second = (assign_folds(train, CLASSES, 4, seed) for seed in (0, 1))
    assert (first != second).any()


def test_a_class_of_fewer_images_than_folds_is_in_some_folds():
    folds = assign_folds(split([0] * 20 + [1] * 20 + [2] * 2), CLASSES, 5, 0)
    assert len(set(folds[40:].tolist())) == 2


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        ([0] * 9 + [1] * 9 + [2], None),
        ([0] * 9 + [1] * 9 + [2] * 4, [*range(18), 18, 18, 18, 18]),
    ],
    ids=["one image", "one group"],
)
def test_a_class_that_a_teacher_would_not_know_is_refused_by_name(labels, groups):
    with pytest.raises(DataError, match=r"class 'cat': its \d training images are in one fold"):
        assign_folds(split(labels, groups), CLASSES, 3, 0)


def test_more_folds_than_groups_are_refused_with_the_number():
    with pytest.raises(ParameterError, match=r"cache_logits\.folds = 7: .* are 6 groups"):
        assign_folds(split([0, 0, 1, 1, 2, 2] * 2, list(range(6)) * 2), CLASSES, 7, 0)
