import numpy as np

from pipeline.params import Views
from pipeline.views.rng import count_draws, draw


def test_the_numbers_of_a_view_are_the_same_on_every_machine_and_in_every_version():
    """Caches and results hang on them, so what they are is written down here."""
    found = draw(np.array([0, 41]), view=3, seed=7, count=16)[:, :3]
    assert found.tolist() == [
        [0.6164661709962761, 0.5126241854544518, 0.2724526320300522],
        [0.7757810679997579, 0.9005919379679477, 0.9358089410438152],
    ]


def test_more_numbers_leave_the_first_as_they_are():
    ids = np.array([5, 2**40])
    few, many = (draw(ids, view=1, seed=0, count=count) for count in (16, 40))
    np.testing.assert_array_equal(many[:, :16], few)
    assert len(np.unique(many)) == many.size


def test_a_recipe_takes_as_many_numbers_as_its_operations_need():
    plain, one, four = (
        count_draws(Views(auto=auto, auto_ops=4)) for auto in ("none", "trivial", "rand")
    )
    assert four - plain == 4 * (one - plain) > 0
