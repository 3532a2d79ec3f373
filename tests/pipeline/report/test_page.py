import importlib
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

import pytest
from finch_runtime.protocol import Energy, Rate, Sustained

from pipeline.measure.evaluation import NotRun
from pipeline.measure.throughput import Threaded, Throughput
from pipeline.params import ClassOrder
from pipeline.plugins import SECTIONS
from pipeline.report.facts import DeviceEvaluation
from pipeline.report.page import render

MINUS, DASH, TIMES = "\N{MINUS SIGN}", "\N{EN DASH}", "\N{MULTIPLICATION SIGN}"
VOID = {"meta", "br", "hr", "img", "input", "link", "col", "wbr", "source"}


@dataclass
class Element:
    tag: str
    attributes: dict = field(default_factory=dict)
    children: list = field(default_factory=list)
    parent: "Element | None" = None

    def all(self, *tags):
        """The elements below this one with one of the tags; without tags, all of them."""
        for child in self.children:
            if isinstance(child, Element):
                if child.tag in tags or not tags:
                    yield child
                yield from child.all(*tags)

    @property
    def classes(self):
        return (self.attributes.get("class") or "").split()

    @property
    def text(self):
        parts = [c if isinstance(c, str) else c.text for c in self.children]
        return " ".join(" ".join(parts).split())


class Tree(HTMLParser):
    """Fails on elements that are not closed or closed in the wrong order."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.root = self.here = Element("")
        self.feed(page)
        self.close()
        assert self.here is self.root, f"<{self.here.tag}> is not closed"

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        element = Element(tag, dict(attributes), parent=self.here)
        self.here.children.append(element)
        if tag not in VOID:
            self.here = element

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.here.tag == tag, f"</{tag}> closes <{self.here.tag}>"
        self.here = self.here.parent

    def handle_data(self, data):
        self.here.children.append(data)


@pytest.fixture(scope="module")
def page(facts):
    return render(facts)


@pytest.fixture(scope="module")
def tree(page):
    return Tree(page).root


def table(tree, label):
    (found,) = [
        next(region.all("table"))
        for region in tree.all("div")
        if region.attributes.get("aria-label") == label
    ]
    return found


def rows(table):
    return [[cell.text for cell in row.all("th", "td")] for row in table.all("tr")]


def test_the_page_is_self_contained(page, tree):
    assert page.startswith("<!DOCTYPE html>")
    assert not list(tree.all("script", "link", "img", "iframe", "object", "embed", "base", "form"))
    for element in tree.all():
        for name in ("href", "xlink:href", "src", "srcset", "style", "background"):
            if element.tag != "a":
                assert "//" not in element.attributes.get(name, "")
    assert not re.search(r"@import|@font-face|url\((?!#)", page)
    links = [a.attributes["href"] for a in tree.all("a")]
    assert [link for link in links if not link.startswith("#")] == ["https://images.example/set"]


def test_links_and_labels_have_targets_and_ids_are_unique(tree):
    attributes = [(name, value) for e in tree.all() for name, value in e.attributes.items()]
    ids = [value for name, value in attributes if name == "id"]
    assert max(Counter(ids).values()) == 1
    for name, value in attributes:
        if name == "aria-labelledby":
            assert value in ids
        if name in ("href", "xlink:href") and value.startswith("#"):
            assert value[1:] in ids


def test_class_names_are_text_and_not_markup(page, tree):
    assert "<b>mono" not in page and "Model <X>" not in page
    for label in ("Recall per class", "Images per class and split"):
        assert "<b>mono</b> & \"67\" 'x'" in [row[0] for row in rows(table(tree, label))]


def test_every_table_has_headers_for_its_rows_and_columns(tree):
    tables = list(tree.all("table"))
    assert len(tables) == 10
    for each in tables:
        head = next(each.all("thead"))
        columns = len(list(head.all("th")))
        assert all(th.attributes["scope"] == "col" for th in head.all("th"))
        for row in each.all("tr"):
            cells = list(row.all("th", "td"))
            assert sum(int(cell.attributes.get("colspan", 1)) for cell in cells) == columns
            if "note" not in row.classes:
                assert cells[0].tag == "th" and "scope" in cells[0].attributes


def test_figures_are_right_aligned_under_a_unit(tree):
    measurements = table(tree, "Measurements of the candidates")
    numeric = [th for th in measurements.all("th") if "number" in th.classes]
    units = [next(th.all("span")).text for th in numeric]
    interval = "95 % CI"
    assert units == ["%", "%", f"points, {interval}", "ms", interval, "images/s", "MB", "MB"]
    body = [td for tbody in measurements.all("tbody") for td in tbody.all("td")]
    assert all("number" in td.classes for td in body if "colspan" not in td.attributes)


def test_charts_have_a_title_and_use_defined_colors(page, tree):
    pictures = list(tree.all("svg"))
    assert len(pictures) == 4
    for picture in pictures:
        title = next(picture.all("title"))
        assert picture.attributes["role"] == "img" and len(title.text) > 40
        assert picture.attributes["aria-labelledby"] == title.attributes["id"]
    defined = set(re.findall(r"(--\w+):", page))
    assert set(re.findall(r"var\((--\w+)\)", page)) <= defined


def test_the_header_has_the_shipped_model_and_its_figures(tree, facts):
    header = next(tree.all("header"))
    assert next(header.all("h1")).text == "openvino-int8-b1"
    text = header.text.replace("\N{NO-BREAK SPACE}", " ")
    verified = facts.verified
    assert facts.manifest["chosen"]["reason"] in text
    for figures in (verified.shipped, verified.student, verified.teacher):
        assert f"{100 * figures.accuracy:.1f} %" in text
    # 6 predictions lost and 3 gained of 306; the interval is what `paired_drop` gives.
    assert f"0.98 points (95 % CI {MINUS}1.27 to 3.38)" in text
    # 2.76 / 0.68 ms, 13.53 / 0.70 MB, 71.2 / 10.8 million
    assert f"4.1{TIMES} faster" in text
    assert f"19.3{TIMES} smaller" in text
    assert f"6.6{TIMES} fewer" in text


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
    for note, verdict in zip(notes, facts.manifest["candidates"], strict=True):
        assert verdict["reason"][1:] in note.replace(MINUS, "-")


def test_more_measurements_are_below(tree, facts):
    more = rows(table(tree, "More measurements: Measurements of the candidates"))
    m = facts.shipped
    found = dict(zip(more[0], next(row for row in more if row[0] == m.name), strict=True))
    assert found["Agreement with fp32 %"] == f"{100 * m.agreement:.1f}"
    assert found["Top-5 accuracy %"] == f"{100 * m.top5:.1f}"
    assert found["Expected calibration error (ECE) points"] == f"{100 * m.calibration_error:.1f}"
    assert found["p99 latency ms"] == f"{m.latency.p99_ms:.3f}"
    assert found["Baseline memory MB"] == "30"
    assert found["Energy mJ per inference"] == DASH


def test_the_page_shows_whether_the_latency_ratios_converged(tree, facts):
    text = " ".join(tree.text.replace("\N{NO-BREAK SPACE}", " ").split())
    assert "converged: largest 95 % CI half-width 3.1 %" in text
    assert "51 to 56 °C" in text
    late = replace(facts.evaluation, ended="time_limit", half_width=0.2)
    assert "evaluate.max_minutes was reached" in render(
        replace(facts, selected_on=replace(facts.selected_on, evaluation=late))
    )


def test_sustained_runs_and_threads_are_shown_if_measured(facts):
    sustained = Sustained(900, [], 0.125, Energy(None, "no meter"))
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
    on = replace(facts.selected_on, evaluation=evaluation)
    page = Tree(render(replace(facts, selected_on=on))).root
    more = rows(table(page, "More measurements: Measurements of the candidates"))
    assert more[0][-1] == "Slowdown in the sustained run %" and more[1][-1] == "12.5"
    threads = rows(table(page, "Measurements of the candidates, by number of threads"))
    assert threads[0] == ["Candidate", "1", "2"]
    assert threads[1][1:] == ["0.700 1000/s, batch 1", "0.400 1900/s, batch 4"]


def test_the_rule_has_the_parameters_of_the_bundle(tree):
    (rule,) = [p.text for p in tree.all("p") if p.text.startswith("A candidate is accepted")]
    for limit in ("at most 1 point", "2.75", "p50 latency", "10.0 %"):
        assert limit in rule.replace("\N{NO-BREAK SPACE}", " ")


def test_the_shipped_row_is_highlighted(tree):
    measurements = table(tree, "Measurements of the candidates")
    marked = [tr for tr in measurements.all("tr") if tr.classes == ["highlighted"]]
    assert [next(tr.all("th")).text.split()[0] for tr in marked] == ["openvino-int8-b1"]


def test_recall_is_shown_per_class(tree, facts):
    found = rows(table(tree, "Recall per class"))
    for index, name in enumerate(facts.dataset["classes"]):
        models = (facts.verified.shipped, facts.verified.student, facts.verified.teacher)
        recalls = [model.recalls[index] for model in models]
        shown = [DASH if recall is None else f"{100 * recall:.1f}" for recall in recalls]
        count = facts.dataset["splits"]["test"]["per_class"][index]
        assert found[1 + index] == [name, str(count), *shown]
    assert ["poly 33 %", "0", DASH, DASH, DASH] in found


def test_images_are_counted_per_class_and_split(tree):
    found = rows(table(tree, "Images per class and split"))
    assert found[0] == ["Class", "Training", "Validation", "Test", "All"]
    assert found[1] == ["mono 0 %", "420", "140", "140", "700"]
    assert found[-1] == ["All classes", "1,000", "334", "306", "1,640"]


def test_the_class_order_is_that_of_the_wavelet_transform(tree, facts):
    (order,) = [element for element in tree.all("ol") if "order" in element.classes]
    assert [item.text for item in order.all("li")] == [
        facts.dataset["classes"][index] for index in (3, 0, 4, 1, 5, 2)
    ]
    assert facts.class_order["sha256"] in tree.text
    assert order.parent.tag == "details"
    summary = next(order.parent.all("summary"))
    assert summary.text == "poly 0 %, mono 0 %, poly 33 %, … (6 classes)"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"kind": "index"}, "Class order: index"),
        ({"kind": "similarity"}, "the teacher's mean logits"),
        ({"kind": "similarity", "similarity": "weights"}, "the teacher's classifier weights"),
        ({"kind": "random", "seed": 7}, "Seed: 7"),
        ({"kind": "file", "file": "<b>.txt"}, "File: <b>.txt"),
    ],
)
def test_the_class_order_has_its_origin(facts, choice, expected):
    order = ClassOrder(**choice).model_dump()
    student = replace(facts.student, recipe={**facts.student.recipe, "class_order": order})
    assert expected in Tree(render(replace(facts, student=student))).root.text


def test_the_method_has_a_description_and_its_options(facts):
    def with_method(**changes):
        recipe = {**facts.student.recipe, **changes}
        return Tree(render(replace(facts, student=replace(facts.student, recipe=recipe)))).root

    figkd = with_method()
    assert "arXiv 2505.11897" in figkd.text
    assert "CVPR 2024" in figkd.text
    plain = with_method(figkd={**facts.student.recipe["figkd"], "kd_weight": 0.0})
    assert "CVPR 2024" not in plain.text
    options = dict(row[:2] for row in rows(table(figkd, "Options of the method")))
    assert options["wavelet"] == "haar" and options["detail_weight"] == "0.15"

    kd = with_method(method="kd")
    assert "arXiv" not in next(p.text for p in kd.all("h3") if "Method" in p.text)
    options = dict(row[:2] for row in rows(table(kd, "Options of the method")))
    assert options["temperature"] == "4" and options["standardized"] == "no"

    cross_entropy = with_method(method="cross_entropy")
    assert "labels alone" in cross_entropy.text
    assert "Options of the method" not in str(cross_entropy)


def test_a_model_that_is_slower_and_larger_than_the_teacher_is_not_called_faster(facts):
    swapped = replace(
        facts.evaluation.teacher,
        bytes=100_000,
        latency=replace(facts.evaluation.teacher.latency, round_ratios=[0.1 / 0.712] * 7),
    )
    on = replace(facts.selected_on, evaluation=replace(facts.evaluation, teacher=swapped))
    tree = Tree(render(replace(facts, selected_on=on))).root
    assert f"6.8{TIMES} slower than the teacher" in tree.text
    assert f"7.0{TIMES} larger than the teacher" in tree.text


def test_a_gain_is_a_negative_drop(facts):
    drop = replace(facts.verified.drop_to_student, points=-1.5, low=-3.0, high=-0.004)
    tree = Tree(render(replace(facts, verified=replace(facts.verified, drop_to_student=drop)))).root
    text = tree.text.replace("\N{NO-BREAK SPACE}", " ")
    assert f"{MINUS}1.50 points (95 % CI {MINUS}3.00 to 0.00)" in text


def test_only_a_web_address_is_a_link(facts):
    dataset = {**facts.dataset, "origin": "javascript:alert(1)"}
    tree = Tree(render(replace(facts, dataset=dataset))).root
    assert "javascript:alert(1)" in tree.text
    assert not [a for a in tree.all("a") if not a.attributes["href"].startswith("#")]


def test_the_same_files_give_the_same_bytes_in_another_process(run, page):
    program = (
        "import sys; from pathlib import Path\n"
        "from pipeline.report.facts import read_facts\n"
        "from pipeline.report.page import render\n"
        "root = Path(sys.argv[1])\n"
        "facts = read_facts(prepared=root / 'data/prepared', student=root / 'models/student',\n"
        "                   qat=root / 'models/qat',\n"
        "                   candidates=root / 'models/candidates',\n"
        "                   reports=root / 'reports', manifest=root / 'dist/manifest.json')\n"
        "sys.stdout.buffer.write(render(facts).encode())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(run.root)],
        env={
            **os.environ,
            "PYTHONHASHSEED": "7",
            "TZ": "Asia/Tokyo",
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode() == page


def test_every_device_has_a_table_with_what_it_cannot_run(facts, tree):
    assert "Other devices" not in tree.text
    evaluation = facts.evaluation
    unable = NotRun("openvino-fp16", "openvino", "fp16", "dynamic", 921_004, "no <such> package")
    pi = replace(
        evaluation,
        device="pi",
        candidates=evaluation.candidates[:2],
        not_run=[unable, replace(unable, name="teacher", problem="out of memory")],
        teacher=None,
        notes=["pi ran the candidates with onnxruntime 1.0, they were made with onnxruntime 1.2"],
    )
    others = [DeviceEvaluation(pi, replace(facts.selected_on.host, cpu="Board 5"))]
    there = Tree(render(replace(facts, other_devices=others))).root
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
    assert "pi: Board 5" in next(table(there, "Measurements on pi").all("caption")).text
    assert pi.notes[0][1:] in there.text
    assert len(rows(table(there, "Measurements of the candidates"))) == len(
        rows(table(tree, "Measurements of the candidates"))
    )


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
    assert ["qat/student.onnx", "7", "64", "7.0e-07", "2.0e-06", "1.0e-07", "100.0"] in parity
    assert parity[-1][:2] == ["qat/student-b1.onnx", "1"]


def test_without_qat_the_page_does_not_mention_it(page):
    assert "fake quantization" not in page


def test_without_int8_there_is_no_section_on_quantization(facts):
    made = [{**c, "options": {}} for c in facts.candidates["candidates"]]
    page = render(replace(facts, candidates={"candidates": made, "mixed_precision": []}))
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
    page = render(replace(facts, candidates={**facts.candidates, "mixed_precision": []}))
    assert "layers kept in float" not in page


def test_a_section_of_another_package_appears_in_page_and_navigation(facts, tmp_path, monkeypatch):
    (tmp_path / "owl_report.py").write_text(
        "from pipeline.plugins import SECTIONS\n"
        "from pipeline.report.document import blocks\n"
        "from pipeline.report.sections import section\n"
        '@SECTIONS.register("owls")\n'
        '@section("Owls & others", order=25)\n'
        "def owls(facts):\n"
        '    return [f"{facts.verified.images} <owl>", blocks.hash("ab")]\n'
    )
    SECTIONS.names()
    monkeypatch.setattr(SECTIONS, "_entries", dict(SECTIONS._entries))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("owl_report")
    root = Tree(render(facts)).root
    (nav,) = root.all("nav")
    links = {a.attributes["href"]: a.text for a in nav.all("a")}
    assert list(links)[1:4] == ["#tradeoff", "#owls", "#quantization"]
    assert links["#owls"] == "Owls & others"
    (section,) = [s for s in root.all("section") if s.attributes.get("aria-labelledby") == "owls"]
    assert section.text == "Owls & others 306 <owl> ab"
