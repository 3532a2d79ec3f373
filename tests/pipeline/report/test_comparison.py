import csv
import re

import pytest

from pipeline.report.comparison import as_markdown, as_page, write_runs
from tests.pipeline.report.html_tree import Tree

NONE = "\N{EN DASH}"


def run(seed, accuracy, **changes):
    return {
        "seed": seed, "val_accuracy": 0.4, "accuracy": accuracy, "balanced_accuracy": 0.45,
        "inside_pairs": 0.75, "epoch": 9, "seconds": 61.4, "class_order": [0, 1, 2], **changes,
    }  # fmt: skip


def figure(mean, deviation=None):
    return {"mean": mean, "deviation": deviation}


def entry(name, setting, runs, accuracy, **changes):
    return {
        "name": name, "set": {}, "setting": setting, "runs": runs,
        "trials": [{"setting": setting, "accuracy": 0.625}], "accuracy": accuracy,
        "balanced_accuracy": figure(0.45, 0.0), "inside_pairs": figure(0.75, 0.0),
        "seconds": figure(61.4, 0.0), **changes,
    }  # fmt: skip


TEST = {
    "difference": 0.0512, "low": -0.0104, "high": 0.1128, "p": 0.03, "p_holm": 0.0604,
    "mcnemar": [0.9, 0.0001, 0.0421],
}  # fmt: skip


@pytest.fixture
def facts():
    return {
        "data": {"source": "grocery_store", "fingerprint": "f" * 64},
        "teacher": {"model": "big_net", "accuracy": 0.7},
        "recipe": {"model": "small_net", "epochs": 20},
        "host": {"cpu": "A CPU", "logical_cores": 2},
        "torch": "2.14.1",
        "confused_pairs": [["Milk <3 %>", "Sour milk"]],
        "test_images": 1243,
        "entries": [
            entry("labels", {}, [run(0, 0.5), run(1, 0.52)], figure(0.51, 0.01414)),
            entry(
                "figkd", {"figkd.detail_weight": 0.1}, [run(0, 0.56), run(1, 0.5624)],
                figure(0.5612, 0.0017), against={"labels": {**TEST}},
            ),
        ],
    }  # fmt: skip


def rows_of(markdown):
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert all(len(row) == len(cells[0]) for row in cells)
    return {row[0]: dict(zip(cells[0], row, strict=True)) for row in cells[2:]}


def test_the_table_has_means_deviations_and_tests(facts):
    rows = rows_of(as_markdown(facts))
    assert rows["labels"]["Accuracy"] == "51.0 ± 1.4"
    assert rows["labels"]["Hyperparameters"] == NONE
    assert rows["labels"]["vs. labels"] == NONE
    ours = rows["figkd"]
    assert ours["Hyperparameters"] == "figkd.detail_weight 0.1"
    assert ours["vs. labels"] == "+5.1 (-1.0 to +11.3)"
    assert (ours["p (Holm)"], ours["McNemar p"]) == ("0.060", "0.042")


def test_one_seed_has_no_deviation_and_no_p(facts):
    one = facts["entries"][1]
    one |= {"accuracy": figure(0.56)}
    one["against"]["labels"] |= {"low": None, "high": None, "p_holm": None, "mcnemar": [0.0001]}
    row = rows_of(as_markdown(facts))["figkd"]
    assert row["Accuracy"] == "56.0"
    assert row["vs. labels"] == "+5.1"
    assert (row["p (Holm)"], row["McNemar p"]) == (NONE, "< 0.001")


def test_the_caption_has_data_models_and_machine(facts):
    text = as_markdown(facts)
    for fact in (
        "1,243 test images",
        "small_net",
        "20 epochs",
        "big_net",
        "70.0",
        "A CPU",
        "2.14.1",
    ):
        assert fact in text


def test_the_page_has_the_same_values_and_escapes_names(facts):
    page = as_page(facts).replace("\N{NO-BREAK SPACE}", " ")
    for cell in ("51.0 ± 1.4", "figkd.detail_weight 0.1", "0.060", "62.5", "Milk &lt;3 %&gt;"):
        assert cell in page
    assert "<3 %>" not in page
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)


def test_the_chart_has_every_method(facts):
    (title,) = {svg.text for svg in Tree(as_page(facts)).root.all("title")} - {
        "Comparison: Distillation methods on grocery_store"
    }
    assert "2 methods" in title and "figkd is the most accurate, with 56.1 %" in title


def test_one_epoch_and_one_seed_are_singular(facts):
    facts["recipe"]["epochs"] = 1
    facts["entries"][0]["runs"].pop()
    text = as_markdown(facts)
    assert "1 epoch." in text and "1 seed." in text


def test_one_row_per_run(facts, tmp_path):
    facts["entries"][0]["runs"][0]["inside_pairs"] = None
    write_runs(tmp_path / "runs.csv", facts)
    with (tmp_path / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["entry"], row["seed"]) for row in rows] == [
        ("labels", "0"), ("labels", "1"), ("figkd", "0"), ("figkd", "1"),
    ]  # fmt: skip
    assert rows[0]["inside_pairs"] == ""
    assert float(rows[3]["accuracy"]) == pytest.approx(0.5624, abs=1e-6)
