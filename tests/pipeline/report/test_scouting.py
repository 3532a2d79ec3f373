import re

import pytest

from pipeline.report.scouting import as_markdown, as_page
from tests.pipeline.report.html_tree import Tree

NONE = "\N{EN DASH}"


def timing(name, p50):
    return {
        "name": name, "bytes": 1000, "p50_ms": p50, "low_ms": 0.9 * p50, "high_ms": 1.1 * p50,
        "round_p50s_ms": [p50, p50, p50],
    }  # fmt: skip


def student(model, size, multiply_adds, fp32, int8, **changes):
    return {
        "model": model, "image_size": size, "multiply_adds": multiply_adds, "parameters": 406_376,
        "timings": [timing("fp32", fp32), timing("int8", int8)], "problem": None,
        "best": "int8" if int8 < fp32 else "fp32", "meets": min(fp32, int8) * 1.1 <= 1.0, **changes,
    }  # fmt: skip


@pytest.fixture
def facts():
    broken = {"timings": [], "best": None, "meets": False, "problem": "a | b <i>"}
    return {
        "verdict": "one at 96 px is the largest that meets 1 ms",
        "lines": "prepare:\n  image_size: 96\n\ndistill:\n  model: one\n",
        "proposal": 1,
        "latency_ms": 1.0,
        "data": {"source": "birds <3", "classes": 8},
        "threads": 1,
        "rounds": 5,
        "runs": 50,
        "candidates": ["fp32", "int8"],
        "left_out": [],
        "host": {"cpu": "A CPU", "logical_cores": 2, "packages": {"onnxruntime": "1.22"}},
        "students": [
            student("one", 64, 5_000_000, 0.4, 0.6),
            student("one", 96, 10_664_368, 0.8, 0.7),
            student("two", 96, 55_000_000, 3.0, 2.5),
            student("odd", 96, None, 1, 1, **broken),
        ],
    }


def rows_of(markdown):
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    cells = [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert all(len(row) == len(cells[0]) for row in cells)
    return {(row[0], row[1]): dict(zip(cells[0], row, strict=True)) for row in cells[2:]}


def test_the_table_has_one_row_per_student_also_if_it_cannot_be_measured(facts):
    rows = rows_of(as_markdown(facts))
    ours = rows["one", "96"]
    assert (ours["Multiply-adds (M)"], ours["Parameters (M)"]) == ("10.66", "0.41")
    assert (ours["p50 (ms)"], ours["95 % CI (ms)"], ours["Fastest candidate"]) == (
        "0.700", "0.630 to 0.770", "int8",
    )  # fmt: skip
    assert (ours["fp32 (ms)"], ours["int8 (ms)"], ours["Within budget"]) == (
        "0.800",
        "0.700",
        "yes",
    )
    assert rows["two", "96"]["Within budget"] == "no"
    odd = rows["odd", "96"]
    assert odd["Fastest candidate"] == r"cannot be measured: a \| b <i>"
    assert (odd["p50 (ms)"], odd["int8 (ms)"], odd["Within budget"]) == (NONE, NONE, "no")


def test_a_proposal_comes_with_lines_for_the_parameter_file(facts):
    assert f"```yaml\n{facts['lines']}```" in as_markdown(facts)
    assert "distill:\n  model: one\n" in as_page(facts)
    facts |= {"lines": None, "proposal": None, "verdict": "none meets 0.1 ms"}
    assert "```" not in as_markdown(facts)
    assert "params.yaml" not in as_page(facts) and "none meets" in as_page(facts)


def test_the_page_has_chart_and_table_and_escapes_names(facts):
    page = as_page(facts)
    for shown in (
        "<svg",
        "0.630 to 0.770",
        "a | b &lt;i&gt;",
        "birds &lt;3",
        "proposed",
        "one, 96 px",
    ):
        assert shown in page
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)


def test_the_figures_of_the_proposed_student_come_first(facts):
    root = Tree(as_page(facts)).root
    (tiles,) = [dl for dl in root.all("dl") if "tiles" in dl.classes]
    text = tiles.text.replace("\N{NO-BREAK SPACE}", " ")
    for figure in ("one", "96 px", "0.700 ms", "0.630 to 0.770", "budget 1 ms", "10.66 M"):
        assert figure in text
    facts |= {"lines": None, "proposal": None}
    assert not list(Tree(as_page(facts)).root.all("dl"))


def test_names_of_stages_are_code_on_the_page(facts):
    root = Tree(as_page(facts)).root
    assert "quantize" in [code.text for code in root.all("code")] and "`" not in root.text
    assert "`quantize`" in as_markdown(facts)


def test_without_measurements_there_is_no_chart(facts):
    facts |= {"students": facts["students"][-1:], "proposal": None, "lines": None}
    page = as_page(facts)
    assert "<svg" not in page and "cannot be measured" in page


def test_candidates_that_need_a_trained_student_are_named(facts):
    assert "Left out" not in as_markdown(facts)
    facts["left_out"] = ["int8-qat"]
    for text in (as_markdown(facts), as_page(facts)):
        assert "trained student: int8-qat." in text
