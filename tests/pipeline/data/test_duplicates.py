import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data import duplicates
from pipeline.data.duplicates import near, same, same_by_either


@st.composite
def close_hashes(draw):
    """Hashes around a few centres, so that some pairs are close and others are not."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, words = draw(st.integers(0, 60)), draw(st.sampled_from([1, 4]))
    centres = rng.integers(0, 2, (draw(st.integers(1, 4)), 64 * words))
    flips = rng.random((count, 64 * words)) < draw(st.sampled_from([0.0, 0.03, 0.1]))
    bits = centres[rng.integers(0, len(centres), count)] ^ flips
    return bits, np.packbits(bits.astype(np.uint8), axis=1).view(np.uint64).reshape(count, words)


@settings(max_examples=60)
@given(close_hashes(), st.integers(0, 40))
def test_near_finds_just_the_pairs_that_a_look_at_every_bit_finds(hashes, distance):
    bits, packed = hashes
    apart = (bits[:, None] != bits[None]).sum(axis=2)
    expected = [
        (a, b, apart[a, b])
        for a in range(len(bits))
        for b in range(a + 1, len(bits))
        if apart[a, b] <= distance
    ]
    found = near(packed, distance)
    assert found.complete
    assert [(*pair, d) for pair, d in zip(found.pairs.tolist(), found.distances, strict=True)] == (
        expected
    )


def test_near_does_not_depend_on_how_the_work_is_cut(monkeypatch):
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, (300, 4), dtype=np.uint64)
    hashes[[7, 150, 299]] = hashes[3]
    whole = near(hashes, 100)
    assert {(3, 7), (3, 150), (3, 299), (7, 150)} <= {tuple(pair) for pair in whole.pairs.tolist()}
    monkeypatch.setattr(duplicates, "_ROWS", 7)
    monkeypatch.setattr(duplicates, "_COLUMNS", 31)
    again = near(hashes, 100)
    assert np.array_equal(whole.pairs, again.pairs)
    assert np.array_equal(whole.distances, again.distances)


def test_a_set_in_which_all_look_alike_ends_the_search_and_says_so():
    found = near(np.zeros((20_000, 4), np.uint64), 16)
    assert not found.complete
    assert len(found.pairs) == duplicates.MAX_PAIRS
    assert found.pairs[:2].tolist() == [[0, 1], [0, 2]]


def test_same_tells_digests_apart_by_every_byte():
    digests = np.zeros((4, 32), np.uint8)
    digests[1, 31] = digests[3, 31] = 1
    digests[2, 0] = 1
    numbers = same(digests)
    assert numbers[1] == numbers[3]
    assert len(set(numbers.tolist())) == 3
    assert len(same(digests[:0])) == 0


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=25))
def test_groups_are_what_joining_one_pair_after_the_other_gives(numbers):
    first = np.array([a for a, _ in numbers], dtype=np.int64)
    second = np.array([b for _, b in numbers], dtype=np.int64)
    group = list(range(len(numbers)))
    for i, (a, b) in enumerate(numbers):
        for j in range(i):
            if numbers[j][0] == a or numbers[j][1] == b:
                old, new = group[i], group[j]
                group = [new if g == old else g for g in group]
    expected = {
        tuple(i for i, g in enumerate(group) if g == name)
        for name in group
        if group.count(name) > 1
    }
    found = same_by_either(first, second)
    assert {tuple(places.tolist()) for places in found} == expected
    assert [int(places[0]) for places in found] == sorted(int(places[0]) for places in found)


@pytest.mark.parametrize("count", [0, 1])
def test_none_and_one_have_no_pairs(count):
    assert len(near(np.zeros((count, 4), np.uint64), 16).pairs) == 0
    numbers = np.zeros(count, dtype=np.int64)
    assert same_by_either(numbers, numbers) == []
