import pytest

from tests.pipeline.params.own_file import FILE, refusal


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("scout.latency_ms=0.0", "scout.latency_ms = 0.0: must be greater than 0"),
        ("scout.latency_ms=-1.0", "scout.latency_ms = -1.0: must be greater than 0"),
        ("scout.models=[]", "scout.models = []"),
        ("scout.models=[resnet18, resnet18]", "scout: models holds resnet18 twice"),
        ("scout.image_sizes=[64, 96, 64]", "scout: image_sizes holds 64 twice"),
        ("scout.image_sizes=[8]", "scout.image_sizes.0 = 8: must be greater than or equal to 16"),
        ("scout.rounds=1", "scout.rounds = 1: must be greater than or equal to 3"),
    ],
)
def test_a_scout_that_cannot_run_is_refused(override, said):
    assert said in refusal(FILE, override)
