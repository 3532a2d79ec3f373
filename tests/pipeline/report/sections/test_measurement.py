"""How the candidates were measured."""

from dataclasses import replace

from pipeline.report.page import render


def test_the_page_shows_whether_the_latency_ratios_converged(tree, facts):
    text = " ".join(tree.text.replace("\N{NO-BREAK SPACE}", " ").split())
    assert "converged: largest 95 % CI half-width 3.1 %" in text
    assert "51 to 56 °C" in text
    late = replace(facts.evaluation, ended="time_limit", half_width=0.2)
    assert "evaluate.max_minutes was reached" in render(replace(facts, evaluation=late))
