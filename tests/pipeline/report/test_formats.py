from pipeline.params.recipe import Steps
from pipeline.report.formats import DASH, code_spans, value


def test_a_group_of_parameters_shows_those_that_are_set():
    assert value(Steps(min=600)) == "min 600"
    assert value(Steps(min=600, max=9000)) == "min 600, max 9000"
    assert value(Steps()) == DASH


def test_code_spans_escape_the_text_around_and_in_them():
    found = code_spans("`a<b>` & `c`, a lone ` stays")
    assert found == "<code>a&lt;b&gt;</code> &amp; <code>c</code>, a lone ` stays"
