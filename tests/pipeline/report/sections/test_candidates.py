"""The candidates: measurements, verdicts and the selection rule."""

from dataclasses import replace

from finch_runtime.protocol import Energy, Rate, Sustained

from pipeline.measure.evaluation import NotRun
from pipeline.measure.throughput import Threaded, Throughput
from pipeline.report.page import render
from tests.pipeline.report.html_tree import Tree, rows, table

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"


def test_the_candidates_have_all_measurements_and_verdicts(tree, facts):
    found = rows(table(tree, "Measurements of the candidates"))
    by_name = {row[0].split()[0]: row[1:] for row in found if len(row) == 9}
    assert list(by_name)[1:] == [m.name for m in facts.evaluation.candidates] + ["teacher"]
    m = facts.shipped
    assert by_name["openvino-int8-b1"] == [
        f"{100 * m.accuracy:.1f}",
        f"{100 * m.balanced_accuracy:.1f}",
        f"0.60 {MINUS}1.39 to 2.69",  # 5 lost, 3 gained, of 334
        f"{m.latency.p50_ms:.3f}",
        f"{m.ratio.value:.2f} {m.ratio.low:.2f} to {m.ratio.high:.2f}",
        "2345 batch 8",
        "61",
        "0.70",
    ]
    notes = [row[0].replace("\N{NO-BREAK SPACE}", " ") for row in found if len(row) == 1]
    statuses = ["Accepted", *["Rejected"] * 3, "Accepted", "Shipped"]
    assert [note.split(":")[0] for note in notes] == statuses
    for note, verdict in zip(notes, facts.manifest.candidates, strict=True):
        assert verdict.reason[1:] in note.replace(MINUS, "-")


def test_more_measurements_are_below(tree, facts):
    more = rows(table(tree, "More measurements: Measurements of the candidates"))
    m = facts.shipped
    found = dict(zip(more[0], next(row for row in more if row[0] == m.name), strict=True))
    assert found["Agreement with fp32 %"] == f"{100 * m.agreement:.1f}"
    assert found["Top-5 accuracy %"] == f"{100 * m.top5:.1f}"
    assert found["Expected calibration error (ECE) points"] == f"{100 * m.calibration_error:.1f}"
    assert found["One-sided 95 % bound of the drop points"] == f"{m.drop.bound:.2f}"
    assert found["p99 latency ms"] == f"{m.latency.p99_ms:.3f}"
    assert found["Baseline memory MB"] == "30"
    assert found["Energy mJ per inference"] == DASH


def test_sustained_runs_and_threads_are_shown_if_measured(facts):
    sustained = Sustained(900, [], 0.125, Energy(None, 0, "no meter"))
    swept = [
        Threaded(1, 0.7, [Rate(1, 1000.0)]),
        Threaded(2, 0.4, [Rate(4, 1900.0)]),
    ]

    def fuller(m):
        return replace(m, throughput=Throughput(swept, sustained))

    evaluation = replace(
        facts.evaluation,
        candidates=list(map(fuller, facts.evaluation.candidates)),
        teacher=fuller(facts.evaluation.teacher),
    )
    page = Tree(render(replace(facts, evaluation=evaluation))).root
    more = rows(table(page, "More measurements: Measurements of the candidates"))
    assert more[0][-1] == "Slowdown in the sustained run %" and more[1][-1] == "12.5"
    threads = rows(table(page, "Measurements of the candidates, by number of threads"))
    assert threads[0] == ["Candidate", "1", "2"]
    assert threads[1][1:] == ["0.700 1000/s, batch 1", "0.400 1900/s, batch 4"]


def test_the_rule_has_the_parameters_of_the_bundle(tree):
    (rule,) = [p.text for p in tree.all("p") if p.text.startswith("A candidate is accepted")]
    for limit in (
        "at most 1 point",
        "bound of the drop is at most 2.75",
        "p50",
        "1.1 times",
        "10.0 %",
    ):
        assert limit in rule.replace("\N{NO-BREAK SPACE}", " ")


def test_latencies_and_ratios_are_those_of_the_percentile_of_the_rule(facts):
    rule = facts.params.bundle.model_copy(update={"percentile": "p99"})
    params = replace(facts.params, bundle=rule)
    page = Tree(render(replace(facts, params=params))).root
    found = rows(table(page, "Measurements of the candidates"))
    assert found[0][4] == "p99 latency ms"
    m, ratio = facts.shipped, facts.shipped.latency.ratio("p99")
    (row,) = [row for row in found if row[0].startswith(m.name)]
    assert row[4].startswith(f"{m.latency.p99_ms:.3f}") and f"{ratio.value:.2f}" in row[5]


def test_the_shipped_row_is_highlighted(tree):
    measurements = table(tree, "Measurements of the candidates")
    marked = [tr for tr in measurements.all("tr") if tr.classes == ["highlighted"]]
    assert [next(tr.all("th")).text.split()[0] for tr in marked] == ["openvino-int8-b1"]


def test_every_device_has_a_table_with_what_it_cannot_run(facts, tree):
    assert "Other devices" not in tree.text
    evaluation = facts.evaluation
    unable = NotRun("openvino-fp16", "openvino", "fp16", "dynamic", 921_004, "no <such> package")
    pi = replace(
        evaluation,
        device="pi",
        host=replace(evaluation.host, cpu="Board 5"),
        candidates=evaluation.candidates[:2],
        not_run=[unable, replace(unable, name="teacher", problem="out of memory")],
        teacher=None,
        notes=["pi ran the candidates with onnxruntime 1.0, they were made with onnxruntime 1.2"],
    )
    there = Tree(render(replace(facts, other_devices=[pi]))).root
    found = rows(table(there, "Measurements on pi"))
    assert [row[0].split()[0] for row in found if len(row) == 9][1:] == [
        *(m.name for m in evaluation.candidates[:2]),
        "openvino-fp16",
        "teacher",
    ]
    assert found[-4][1:] == [DASH] * 7 + ["0.92"]
    notes = [row[0] for row in found if len(row) == 1]
    for note, problem in zip(notes, ("no <such> package", "out of memory"), strict=True):
        assert note.startswith("Cannot run:") and problem in note
    assert sum("2 models on pi." in title.text for title in there.all("title")) == 2, "two widths"
    assert "pi: Board 5" in next(table(there, "Measurements on pi").all("caption")).text
    assert pi.notes[0][1:] in there.text
    assert len(rows(table(there, "Measurements of the candidates"))) == len(
        rows(table(tree, "Measurements of the candidates"))
    )
