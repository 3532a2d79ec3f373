"""Differences between files and PyTorch."""

from dataclasses import replace

from pipeline.report.page import render
from tests.pipeline.report.html_tree import Tree


def test_a_network_in_its_form_for_inference_is_named_with_the_difference(facts):
    assert "reparameterized" not in Tree(render(facts)).root.text
    student = replace(facts.parity["student"], reparameterized=1.44e-6)
    facts = replace(facts, parity=facts.parity | {"student": student})
    text = " ".join(Tree(render(facts)).root.text.split())
    assert "student.onnx was reparameterized" in text
    assert "1.4e-06" in text
