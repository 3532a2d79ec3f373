"""How the candidates were measured."""

from dataclasses import replace

from pipeline.report.page import render


def test_the_page_shows_whether_the_latency_ratios_converged(tree, facts):
    text = " ".join(tree.text.replace("\N{NO-BREAK SPACE}", " ").split())
    assert "converged: largest 95 % CI half-width 3.1 %" in text
    assert "51 to 56 °C" in text
    late = replace(facts.evaluation, ended="time_limit", half_width=0.2)
    assert "evaluate.max_minutes was reached" in render(replace(facts, evaluation=late))


def test_a_chart_has_a_row_of_percentiles_for_each_model(tree, facts):
    figure = next(f for f in tree.all("figure") if "p50 to p99" in f.text)
    chart = next(figure.all("svg"))
    title = next(chart.all("title")).text
    measured = facts.evaluation.measured
    ratios = {m.name: m.latency.p99_ms / m.latency.p50_ms for m in measured}
    slowest = max(ratios, key=ratios.__getitem__)
    assert f"{len(measured)} models" in title
    assert f"{slowest}, {ratios[slowest]:.2f}" in title
    assert {m.name for m in measured} <= {text.text for text in chart.all("text")}
