"""Reliability before and after temperature scaling."""

from tests.pipeline.report.html_tree import section


def test_both_errors_and_the_temperature_are_shown(tree, facts):
    found = section(tree, "reliability")
    before, after = facts.verified.reliability, facts.verified.scaled
    assert "Logits divided by 1.25" in found.text
    ends = [f"{100 * each.calibration_error:.1f}" for each in (before, after)]
    assert ends[0] != ends[1]
    assert f"from {ends[0]} to {ends[1]} percentage points" in found.text
    assert len(list(found.all("svg"))) == 2
