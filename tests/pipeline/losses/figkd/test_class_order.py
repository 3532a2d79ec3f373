import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.errors import ParameterError, TrainingError
from pipeline.files import hash_value
from pipeline.losses.figkd.class_order import describe_order, order_classes
from pipeline.params import ClassOrder

NAMES = ("mono 0 %", "mono 33 %", "poly 0 %", "poly 33 %")


def no_head():
    raise AssertionError("weights are not needed")


def order_of(choice, labels, logits, classes=None, head=no_head):
    classes = classes or [f"class {c}" for c in range(logits.shape[-1])]
    return order_classes(choice, labels, logits, classes=classes, head=head)


def test_similarity_by_logits_is_refused_where_none_are_cached():
    labels, classes = np.arange(4) % 4, [f"class {c}" for c in range(4)]
    by_logits = ClassOrder(kind="similarity", similarity="logits")
    with pytest.raises(ParameterError, match=r"class_order\.similarity.*logits.*weights"):
        order_classes(by_logits, labels, None, classes=classes, head=no_head)
    by_weights = ClassOrder(kind="similarity", similarity="weights")
    found = order_classes(by_weights, labels, None, classes=classes, head=lambda: np.eye(4))
    assert sorted(found) == [0, 1, 2, 3]
    for kind in ("index", "random"):
        order_classes(ClassOrder(kind=kind), labels, None, classes=classes, head=no_head)


def random_logits(means, per_class=6, views=3, noise=0.05, seed=0):
    """Logits [views, n, classes] of a teacher with the given mean logits for each class."""
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
    labels, logits = random_logits(rng.standard_normal((classes, classes)) * 4, seed=seed)
    order = order_of(ClassOrder(kind=kind, seed=seed), labels, logits.astype(dtype))
    assert sorted(order) == list(range(classes))
    assert {type(place) for place in order} == {int}


@given(hnp.arrays(np.float64, (2, 12, 4), elements=st.floats(-50, 50)))
def test_the_index_order_ignores_the_teacher(logits):
    labels = np.arange(12) % 4
    assert order_of(ClassOrder(kind="index"), labels, logits) == [0, 1, 2, 3]


@pytest.mark.parametrize("seed", range(8))
def test_similar_logits_place_classes_side_by_side(seed):
    classes = 10
    pairs = np.random.default_rng(seed).permutation(classes).reshape(-1, 2)
    means = np.eye(classes) * 8
    for one, other in pairs:
        means[one, other] = means[other, one] = 6
    labels, logits = random_logits(means, seed=seed)
    order = order_of(ClassOrder(kind="similarity"), labels, logits)
    place = {label: position for position, label in enumerate(order)}
    assert all(abs(place[one] - place[other]) == 1 for one, other in pairs.tolist())


@pytest.mark.parametrize("seed", range(8))
def test_similarity_finds_a_hidden_linear_order(seed):
    # Only the optimal leaf ordering finds it; the tree alone leaves the order of branches open.
    classes = 9
    line = np.random.default_rng(seed).permutation(classes)
    place = np.argsort(line)
    means = 8 * np.exp(-(((place[:, None] - place) / 1.5) ** 2))
    labels, logits = random_logits(means, noise=0.01, seed=seed)
    order = order_of(ClassOrder(kind="similarity"), labels, logits)
    assert order in (line.tolist(), line[::-1].tolist())


def test_similarity_ignores_offset_and_scale_of_a_class():
    rng = np.random.default_rng(0)
    means = rng.standard_normal((7, 7)) * 3
    labels, logits = random_logits(means, noise=0)
    moved = logits * rng.uniform(0.5, 2, 7)[labels][:, None] + rng.normal(size=7)[labels][:, None]
    similarity = ClassOrder(kind="similarity")
    assert order_of(similarity, labels, logits) == order_of(similarity, labels, moved)


def test_a_random_order_depends_on_the_seed_alone():
    one, other = (random_logits(np.random.default_rng(s).standard_normal((20, 20))) for s in (0, 1))
    orders = [order_of(ClassOrder(kind="random", seed=s), *one) for s in range(5)]
    assert len({tuple(order) for order in orders}) == 5
    again = [order_of(ClassOrder(kind="random", seed=s), *other) for s in range(5)]
    assert again == orders


@pytest.mark.parametrize("kind", ["similarity", "random"])
def test_two_classes_have_nothing_to_order(kind):
    labels, logits = random_logits(np.eye(2))
    assert order_of(ClassOrder(kind=kind), labels, logits) == [0, 1]


def test_similar_weights_place_classes_side_by_side():
    rng = np.random.default_rng(0)
    pairs = rng.permutation(10).reshape(-1, 2)
    weights = rng.standard_normal((10, 64))
    for one, other in pairs:
        weights[other] = weights[one] + 0.3 * rng.standard_normal(64)
    labels, logits = random_logits(np.eye(10))
    by_weights = ClassOrder(kind="similarity", similarity="weights")
    # What all classes share cancels in a softmax, however large it is.
    for common in (0.0, 50.0):
        order = order_of(by_weights, labels, logits, head=lambda c=common: weights + c)
        place = np.argsort(order)
        assert all(abs(place[one] - place[other]) == 1 for one, other in pairs.tolist())


def test_mean_logits_are_those_of_all_views_and_blocks(monkeypatch):
    """A linear order that only the mean over views and over blocks of images shows."""
    monkeypatch.setattr("pipeline.losses.figkd.class_order._BLOCK", 5)
    line = np.array([3, 0, 4, 1, 2])
    place = np.argsort(line)
    means = 8 * np.exp(-(((place[:, None] - place) / 1.5) ** 2))
    labels, logits = random_logits(means, per_class=4, views=2, noise=0)
    noise = np.random.default_rng(1).normal(0, 20, logits.shape[1:])
    logits = np.stack([logits[0] + noise, logits[1] - noise])
    order = order_of(ClassOrder(kind="similarity"), labels, logits)
    assert order in (line.tolist(), line[::-1].tolist())


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    images, classes = 50_000, 40
    labels = np.arange(images) % classes
    path = tmp_path / "logits.npy"
    np.save(path, np.eye(classes, dtype=np.float16)[labels][None].repeat(2, axis=0))
    logits = np.load(path, mmap_mode="r")
    tracemalloc.start()
    order_of(ClassOrder(kind="similarity"), labels, logits)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < images * classes * 8 / 3  # a third of one view in float64


def test_a_class_of_constant_logits_is_similar_to_no_other():
    means = np.eye(5) * 8
    means[0, 1] = means[1, 0] = 6
    means[4] = 0
    labels, logits = random_logits(means, noise=0)
    order = order_of(ClassOrder(kind="similarity"), labels, logits)
    assert abs(order.index(0) - order.index(1)) == 1
    assert sorted(order) == list(range(5))


def test_logits_of_other_classes_or_images_are_refused():
    labels, logits = random_logits(np.eye(4))
    similarity = ClassOrder(kind="similarity")
    with pytest.raises(TrainingError, match=r"\(24, 4\).*\(24, 3\)"):
        order_of(similarity, labels, logits, classes=("a", "b", "c"))
    with pytest.raises(TrainingError, match=r"\(24, 4\).*\(23, 4\)"):
        order_of(similarity, labels[1:], logits)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_naming_the_class(value):
    labels, logits = random_logits(np.eye(4))
    logits[1, np.flatnonzero(labels == 2)[0], 3] = value
    with pytest.raises(TrainingError, match=r"teacher's logits.*'class 2'.*not finite"):
        order_of(ClassOrder(kind="similarity"), labels, logits)
    by_weights = ClassOrder(kind="similarity", similarity="weights")
    with pytest.raises(TrainingError, match=r"classifier layer.*not finite"):
        order_of(by_weights, labels, logits, head=lambda: np.full((4, 2), value))


def test_a_class_without_images_is_named():
    labels, logits = random_logits(np.eye(4))
    labels[labels == 1] = 0
    with pytest.raises(TrainingError, match=r"'class 1'.*no training images"):
        order_of(ClassOrder(kind="similarity"), labels, logits)


def test_weights_of_another_number_of_classes_are_refused():
    labels, logits = random_logits(np.eye(4))
    with pytest.raises(TrainingError, match=r"5 classes.*4"):
        order_of(
            ClassOrder(kind="similarity", similarity="weights"),
            labels,
            logits,
            head=lambda: np.eye(5),
        )


def order_from(tmp_path, content, classes=NAMES):
    path = tmp_path / "order.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    labels, logits = random_logits(np.eye(len(classes)))
    return order_of(ClassOrder(kind="file", file=str(path)), labels, logits, classes)


@pytest.mark.parametrize(
    "content",
    [
        "poly 33 %\nmono 0 %\npoly 0 %\nmono 33 %\n",
        "poly 33 %\r\nmono 0 %\r\npoly 0 %\r\nmono 33 %",
        "\ufeffpoly 33 %\n\nmono 0 %\npoly 0 %\nmono 33 %\n\n",
    ],
    ids=["plain", "windows", "mark and empty lines"],
)
def test_a_file_sets_the_order(tmp_path, content):
    assert order_from(tmp_path, content) == [3, 0, 2, 1]


@given(order=st.permutations(range(4)))
def test_a_described_order_can_be_read_back(tmp_path_factory, order):
    described = describe_order(ClassOrder(), order, NAMES)
    text = "\n".join(described["classes"])
    assert order_from(tmp_path_factory.mktemp("order"), text) == list(order)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "mono 0 %\nmono 33 %\npoly 0 %\npoli 33 %\n",
            r"line 4.*'poli 33 %'.*'poly 33 %'",
        ),
        ("mono 0 %\nmono 0 %\n", r"line 2.*'mono 0 %'.*line 1"),
        ("mono 0 %\npoly 33 %\n", r"2 of 4 classes.*'mono 33 %', 'poly 0 %'"),
        ("", r"4 of 4 classes"),
        ("3\n0\n2\n1\n", r"line 1.*'3'.*one per line"),
        (b"mono 0 %\n\xff\n", r"UTF-8"),
    ],
    ids=["unknown", "twice", "missing", "empty", "numbers", "bytes"],
)
def test_a_file_that_is_not_a_permutation_is_refused(tmp_path, content, message):
    with pytest.raises(ParameterError, match=rf"order\.txt.*{message}"):
        order_from(tmp_path, content)


def test_a_missing_file_is_named(tmp_path):
    labels, logits = random_logits(np.eye(3))
    with pytest.raises(ParameterError, match=r"none\.txt.*No such file"):
        order_of(ClassOrder(kind="file", file=str(tmp_path / "none.txt")), labels, logits)


def test_many_missing_classes_are_not_all_listed(tmp_path):
    classes = [f"c{i}" for i in range(300)]
    with pytest.raises(ParameterError, match=r"299 of 300 .*'c5'") as caught:
        order_from(tmp_path, "c0\n", classes)
    assert "c250" not in str(caught.value)


def test_the_hash_is_that_of_the_names_in_their_order():
    described = describe_order(ClassOrder(kind="random", seed=4), [3, 0, 2, 1], NAMES)
    assert described["classes"] == ["poly 33 %", "mono 0 %", "poly 0 %", "mono 33 %"]
    assert described["sha256"] == hash_value(described["classes"])
    assert (described["kind"], described["seed"]) == ("random", 4)
    other = describe_order(ClassOrder(kind="random", seed=4), [3, 0, 1, 2], NAMES)
    assert other["sha256"] != described["sha256"]
