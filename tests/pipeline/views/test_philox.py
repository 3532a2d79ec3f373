import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.views.philox import uniform_numbers


@given(
    first=st.integers(0, 2**64 - 1),
    seconds=arrays(np.int64, st.integers(0, 5), elements=st.integers(0, 2**63 - 1)),
    count=st.integers(0, 21),
)
def test_the_numbers_are_those_of_numpy(first, seconds, count):
    found = uniform_numbers(first, seconds, count)
    assert found.shape == (len(seconds), count)
    for row, second in zip(found, seconds, strict=True):
        key = np.array([first, second], dtype=np.uint64)
        assert row.tolist() == np.random.Generator(np.random.Philox(key=key)).random(count).tolist()
