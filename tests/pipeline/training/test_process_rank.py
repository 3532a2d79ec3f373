import pytest

from pipeline.training.process_rank import ProcessRank, read_process_rank


@pytest.mark.parametrize(
    ("environment", "process"),
    [
        ({}, ProcessRank(0, 1, 0)),
        ({"RANK": "3"}, ProcessRank(0, 1, 0)),
        ({"WORLD_SIZE": "8", "RANK": "5", "LOCAL_RANK": "1"}, ProcessRank(5, 8, 1)),
        ({"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}, ProcessRank(0, 1, 0)),
    ],
)
def test_rank_and_world_size_from_environment_variables(monkeypatch, environment, process):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert read_process_rank() == process


def test_rank_0_is_the_main_process():
    assert [ProcessRank(rank, 3, rank).is_main for rank in range(3)] == [True, False, False]
