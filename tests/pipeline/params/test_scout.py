import pytest

from pipeline.errors import ParameterError
from pipeline.params import Scout, load_section
from tests.pipeline.params.own_file import PROJECT

FILE = PROJECT / "scout.yaml"


def test_the_projects_own_file_is_valid():
    assert load_section(FILE, Scout, ["latency_ms=2"]).latency_ms == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("latency_ms=0.0", r"latency_ms = 0\.0"),
        ("latency_ms=-1.0", r"latency_ms = -1\.0"),
        ("models=[]", r"models = \[\]"),
        ("models=[resnet18, resnet18]", "models .*resnet18 twice"),
        ("image_sizes=[64, 96, 64]", "image_sizes .*64 twice"),
        ("image_sizes=[8]", r"image_sizes\.0 = 8"),
        ("rounds=1", "rounds = 1"),
    ],
)
def test_impossible_parameters_are_refused(override, message):
    with pytest.raises(ParameterError, match=f"scout.yaml: {message}"):
        load_section(FILE, Scout, [override])
