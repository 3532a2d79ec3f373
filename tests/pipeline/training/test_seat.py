import pytest

from pipeline.training.seat import Seat, find_seat


@pytest.mark.parametrize(
    ("environment", "seat"),
    [
        ({}, Seat(0, 1, 0)),
        ({"RANK": "3"}, Seat(0, 1, 0)),
        ({"WORLD_SIZE": "8", "RANK": "5", "LOCAL_RANK": "1"}, Seat(5, 8, 1)),
        ({"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}, Seat(0, 1, 0)),
    ],
)
def test_the_environment_says_which_process_this_is(environment, seat):
    assert find_seat(environment) == seat


def test_the_first_leads():
    assert [Seat(rank, 3, rank).leads for rank in range(3)] == [True, False, False]
