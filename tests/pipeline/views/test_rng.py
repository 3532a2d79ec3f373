import numpy as np

from pipeline.params import Views
from pipeline.views.rng import count_numbers, random_numbers


def test_the_random_numbers_are_pinned():
    """Caches and results depend on these numbers."""
    found = random_numbers(np.array([0, 41]), view=3, seed=7, count=16)[:, :3]
    assert found.tolist() == [
        [0.6164661709962761, 0.5126241854544518, 0.2724526320300522],
        [0.7757810679997579, 0.9005919379679477, 0.9358089410438152],
    ]


def test_a_larger_count_does_not_change_the_first_numbers():
    ids = np.array([5, 2**40])
    few, many = (random_numbers(ids, view=1, seed=0, count=count) for count in (16, 40))
    np.testing.assert_array_equal(many[:, :16], few)
    assert len(np.unique(many)) == many.size


def test_the_count_of_numbers_grows_with_the_operations():
    plain, one, four = (
        count_numbers(Views(auto=auto, auto_ops=4)) for auto in ("none", "trivial", "rand")
    )
    assert four - plain == 4 * (one - plain) > 0
