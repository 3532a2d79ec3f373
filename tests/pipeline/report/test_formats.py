from pipeline.params.recipe import Steps
from pipeline.report.formats import DASH, value


def test_a_group_of_parameters_shows_those_that_are_set():
    assert value(Steps(min=600)) == "min 600"
    assert value(Steps(min=600, max=9000)) == "min 600, max 9000"
    assert value(Steps()) == DASH
