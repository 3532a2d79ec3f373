import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data import duplicates
from pipeline.data.duplicates import find_near, find_similar, group_equal


@st.composite
def close_hashes(draw):
    """Hashes around a few centers, so that some pairs are close and others are not."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, words = draw(st.integers(0, 60)), draw(st.sampled_from([1, 4]))
    centers = rng.integers(0, 2, (draw(st.integers(1, 4)), 64 * words))
    flips = rng.random((count, 64 * words)) < draw(st.sampled_from([0.0, 0.03, 0.1]))
    bits = centers[rng.integers(0, len(centers), count)] ^ flips
    return bits, np.packbits(bits.astype(np.uint8), axis=1).view(np.uint64).reshape(count, words)


@settings(max_examples=60)
@given(close_hashes(), st.integers(0, 40))
def test_find_near_agrees_with_a_comparison_of_every_bit(hashes, distance):
    bits, packed = hashes
    apart = (bits[:, None] != bits[None]).sum(axis=2)
    expected = [
        (a, b, apart[a, b])
        for a in range(len(bits))
        for b in range(a + 1, len(bits))
        if apart[a, b] <= distance
    ]
    found = find_near(packed, distance)
    assert found.complete
    assert [(*pair, d) for pair, d in zip(found.pairs.tolist(), found.distances, strict=True)] == (
        expected
    )


def test_find_near_does_not_depend_on_the_tile_size(monkeypatch):
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, (300, 4), dtype=np.uint64)
    hashes[[7, 150, 299]] = hashes[3]
    whole = find_near(hashes, 100)
    assert {(3, 7), (3, 150), (3, 299), (7, 150)} <= {tuple(pair) for pair in whole.pairs.tolist()}
    monkeypatch.setattr(duplicates, "_ROWS", 7)
    monkeypatch.setattr(duplicates, "_COLUMNS", 31)
    again = find_near(hashes, 100)
    assert np.array_equal(whole.pairs, again.pairs)
    assert np.array_equal(whole.distances, again.distances)


def test_the_search_stops_at_too_many_pairs_and_is_marked_incomplete():
    found = find_near(np.zeros((20_000, 4), np.uint64), 16)
    assert not found.complete
    assert len(found.pairs) == duplicates.MAX_PAIRS
    assert found.pairs[:2].tolist() == [[0, 1], [0, 2]]


def test_group_equal_compares_every_byte():
    digests = np.zeros((4, 32), np.uint8)
    digests[1, 31] = digests[3, 31] = 1
    digests[2, 0] = 1
    assert group_equal(digests) == [[1, 3]]


@given(st.lists(st.integers(0, 8), max_size=25))
def test_group_equal_lists_groups_by_their_first_member(numbers):
    digests = np.array(numbers, np.uint8).reshape(-1, 1)
    expected = [
        [i for i, other in enumerate(numbers) if other == number]
        for number in dict.fromkeys(numbers)
    ]
    found = group_equal(digests)
    assert found == [group for group in expected if len(group) > 1]


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_hashes_have_no_pairs(count):
    assert len(find_near(np.zeros((count, 4), np.uint64), 16).pairs) == 0
    assert group_equal(np.zeros((count, 32), np.uint8)) == []


@settings(max_examples=40)
@given(close_hashes(), st.integers(0, 40), st.integers(0, 60), st.booleans())
def test_find_similar_agrees_with_a_comparison_of_every_bit(hashes, distance, count, small_tiles):
    bits, packed = hashes
    apart = (bits[:count, None] != bits[None, count:]).sum(axis=2)
    expected = [next(iter(np.flatnonzero(row <= distance)), -1) for row in apart]
    with pytest.MonkeyPatch.context() as patch:
        if small_tiles:
            patch.setattr(duplicates, "_ROWS", 3)
            patch.setattr(duplicates, "_COLUMNS", 7)
        assert find_similar(packed[:count], packed[count:], distance).tolist() == expected
