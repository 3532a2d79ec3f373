"""Options of int8, mixed precision and QAT."""

from dataclasses import replace

import pytest

from pipeline.report.page import render
from tests.pipeline.report.html_tree import Element, Tree, rows, table


def test_mixed_precision_is_shown_step_by_step(tree):
    steps = table(tree, "Mixed precision of onnxruntime-int8: layers kept in float")
    assert rows(steps)[-2:] == [
        ["1", "blocks.1.0.conv_dw", "12.5", "6.2", "0.65", "2.50 1.00 to 5.50"],
        ["2", "blocks.0.0.<conv>", "25.0", "12.5", "0.65", "2.50 1.00 to 5.50"],
    ]
    text = " ".join(paragraph.text for paragraph in tree.all("p"))
    assert (
        "Result: no candidate was added: the drop with <2> of 4 layers in float is too large."
        in text
    )
    assert "blocks.1.0.conv_dw (0.421), blocks.0.0.<conv> (0.100)." in text


@pytest.mark.parametrize(
    ("epoch", "kept"), [(2, "weights of epoch 2"), (0, "initial weights were kept")]
)
def test_the_accuracy_before_and_after_qat_is_shown(run, epoch, kept):
    run.add_qat(best_epoch=epoch)
    root = Tree(render(run.read())).root
    (section,) = [
        s for s in root.all("section") if s.attributes.get("aria-labelledby") == "quantization"
    ]
    for expected in ("69.1 %", "66.2 %", "68.7 %", "3 epochs", "figkd", kept):
        assert expected in section.text.replace("\N{NO-BREAK SPACE}", " ")
    parity = rows(table(root, "Differences between ONNX and PyTorch"))
    assert ["qat/student.onnx", "7", "64", "2.6e-06", "3.4e-05", "1.2e-06", "100.0"] in parity
    assert parity[-1][:2] == ["qat/student-b1.onnx", "1"]


def test_without_qat_the_page_does_not_mention_it(page):
    assert "fake quantization" not in page


def test_without_int8_there_is_no_section_on_quantization(facts):
    made = [replace(c, options={}) for c in facts.candidates.candidates]
    index = replace(facts.candidates, candidates=made, mixed_precision=[])
    page = render(replace(facts, candidates=index))
    assert "#quantization" not in page


def test_the_options_of_int8_are_shown(tree):
    (options,) = [
        d for d in tree.all("dl") if next(d.all("dt"), Element("")).text == "onnxruntime-int8"
    ]
    assert [term.text for term in options.all("dt")] == [
        "onnxruntime-int8",
        "openvino-int8",
        "openvino-int8-b1",
    ]
    assert {value.text for value in options.all("dd")} == {"method static, types u8s8"}


def test_without_searches_there_is_no_section_on_mixed_precision(facts):
    page = render(replace(facts, candidates=replace(facts.candidates, mixed_precision=[])))
    assert "layers kept in float" not in page
