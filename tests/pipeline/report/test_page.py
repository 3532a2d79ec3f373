import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

import pytest

from pipeline.measure.evaluation import NotRun
from pipeline.measure.throughput import Rate, Sustained, Threaded, Throughput
from pipeline.params import ClassOrder
from pipeline.report.facts import OnDevice
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
    """Refuses a page in which an element is not closed where it must be."""

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


def test_the_page_loads_nothing(page, tree):
    assert page.startswith("<!DOCTYPE html>")
    assert not list(tree.all("script", "link", "img", "iframe", "object", "embed", "base", "form"))
    for element in tree.all():
        for name in ("href", "xlink:href", "src", "srcset", "style", "background"):
            if element.tag != "a":
                assert "//" not in element.attributes.get(name, "")
    assert not re.search(r"@import|@font-face|url\((?!#)", page)
    links = [a.attributes["href"] for a in tree.all("a")]
    assert [link for link in links if not link.startswith("#")] == [
        "https://photographs.example/set"
    ]


def test_links_and_labels_lead_somewhere_and_ids_are_unique(tree):
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
            if row.classes != ["reason"]:
                assert cells[0].tag == "th" and "scope" in cells[0].attributes


def test_figures_are_right_aligned_under_a_unit(tree):
    measurements = table(tree, "Measurements of the candidates")
    numeric = [th for th in measurements.all("th") if "number" in th.classes]
    units = [next(th.all("span")).text for th in numeric]
    ratio = f"{TIMES} fp32"
    assert units == ["%", "%", "points", "ms", ratio, "images/s", "MB, peak", "MB"]
    body = [td for tbody in measurements.all("tbody") for td in tbody.all("td")]
    assert all("number" in td.classes for td in body if "colspan" not in td.attributes)


def test_pictures_have_a_title_and_take_defined_colours(page, tree):
    pictures = list(tree.all("svg"))
    assert len(pictures) == 4
    for picture in pictures:
        title = next(picture.all("title"))
        assert picture.attributes["role"] == "img" and len(title.text) > 40
        assert picture.attributes["aria-labelledby"] == title.attributes["id"]
    defined = set(re.findall(r"(--\w+):", page))
    assert set(re.findall(r"var\((--\w+)\)", page)) <= defined


def test_the_headline_tells_what_shipped_and_what_was_lost_and_won(tree, facts):
    header = next(tree.all("header"))
    assert next(header.all("h1")).text == "openvino-int8-b1 ships"
    text = header.text.replace("\N{NO-BREAK SPACE}", " ")
    verified = facts.verified
    assert "It is the smallest file (701.6 kB) of the 3 accepted candidates" in text
    assert f"it is right on {100 * verified.shipped.accuracy:.1f} %" in text
    assert f"the fp32 student on {100 * verified.student.accuracy:.1f} %" in text
    assert f"the teacher on {100 * verified.teacher.accuracy:.1f} %" in text
    # 6 answers lost and 3 gained of 306; the interval is what `paired_drop` gives.
    assert f"it loses 0.98 points (95 % interval of the loss {MINUS}1.27 to 3.38)" in text
    # 2.76 / 0.68 ms, 13.53 / 0.70 MB, 71.2 / 10.8 million
    assert "4.1 times faster than the teacher" in text
    assert "19.3 times smaller than the teacher" in text
    assert "6.6 times fewer than the teacher's" in text


def test_the_candidates_are_told_in_full(tree, facts):
    found = rows(table(tree, "Measurements of the candidates"))
    told = {row[0].split()[0]: row[1:] for row in found if len(row) == 9}
    assert list(told)[1:] == [m.name for m in facts.evaluation.candidates] + ["teacher"]
    m = facts.shipped
    assert told["openvino-int8-b1"] == [
        f"{100 * m.accuracy:.1f}",
        f"{100 * m.balanced_accuracy:.1f}",
        f"0.60 {MINUS}1.39 to 2.69",  # 5 lost, 3 gained, of 334
        f"{m.latency.p50_ms:.3f}",
        f"{m.ratio.value:.2f} {m.ratio.low:.2f} to {m.ratio.high:.2f}",
        "2345 batch 8",
        "61",
        "0.70",
    ]
    reasons = [row[0] for row in found if len(row) == 1]
    assert len(reasons) == len(facts.evaluation.candidates)
    assert reasons[0].startswith("Accepted: its file is larger than that of openvino-int8-b1")
    assert reasons[3].startswith(
        f"Rejected: loses 2.10 points of accuracy (95 % interval {MINUS}0.04 to 4.52), 1 allowed;"
    )
    assert reasons[5].startswith("Ships: the smallest file")


def test_the_rest_of_a_candidate_is_told_below(tree, facts):
    more = rows(table(tree, "More measurements of the candidates"))
    m = facts.shipped
    told = dict(zip(more[0], next(row for row in more if row[0] == m.name), strict=True))
    assert told["Agrees with fp32 %"] == f"{100 * m.agreement:.1f}"
    assert told["Label among first five %"] == f"{100 * m.top5:.1f}"
    assert told["Calibration error points"] == f"{100 * m.calibration_error:.1f}"
    assert told["p99 ms"] == f"{m.latency.p99_ms:.3f}"
    assert told["Memory before the runtime MB"] == "30"
    assert told["Energy mJ an inference"] == "\N{EN DASH}"


def test_the_page_says_whether_the_rounds_settled(tree, facts):
    text = " ".join(tree.text.replace("\N{NO-BREAK SPACE}", " ").split())
    assert "was certain enough: its interval reaches 3.1 % to either side at most" in text
    assert "51 to 56 °C; frequency unknown" in text
    late = replace(facts.evaluation, ended="time", uncertainty=0.2)
    assert "ended for time, before" in render(
        replace(facts, chosen_on=replace(facts.chosen_on, evaluation=late))
    )


def test_sustained_runs_and_threads_are_told_where_they_were_measured(facts):
    sustained = Sustained(900, 0.125, None, [])
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
    on = replace(facts.chosen_on, evaluation=evaluation)
    page = Tree(render(replace(facts, chosen_on=on))).root
    more = rows(table(page, "More measurements of the candidates"))
    assert more[0][-1] == "Slower at the end of the sustained run %" and more[1][-1] == "12.5"
    threads = rows(table(page, "Measurements of the candidates, by threads"))
    assert threads[0] == ["Candidate", "1", "2"]
    assert threads[1][1:] == ["0.700 1000 batch 1", "0.400 1900 batch 4"]


def test_the_rule_is_told_with_the_parameters_of_the_bundle(tree):
    assert (
        "loses at most 1 percentage point of validation accuracy to the fp32 student, "
        "the 95 % interval of that loss ends at 2.75 or below, and it is not slower"
    ) in " ".join(tree.text.replace("\N{NO-BREAK SPACE}", " ").split())


def test_the_shipped_row_is_marked(tree):
    measurements = table(tree, "Measurements of the candidates")
    marked = [tbody for tbody in measurements.all("tbody") if "shipped" in tbody.classes]
    assert [next(tbody.all("th")).text.split()[0] for tbody in marked] == ["openvino-int8-b1"]


def test_recall_is_told_class_by_class(tree, facts):
    found = rows(table(tree, "Recall per class"))
    for index, name in enumerate(facts.dataset["classes"]):
        models = (facts.verified.shipped, facts.verified.student, facts.verified.teacher)
        recalls = [model.recalls[index] for model in models]
        told = [DASH if recall is None else f"{100 * recall:.1f}" for recall in recalls]
        count = facts.dataset["splits"]["test"]["per_class"][index]
        assert found[1 + index] == [name, str(count), *told]
    assert ["poly 33 %", "0", DASH, DASH, DASH] in found


def test_images_are_counted_per_class_and_split(tree):
    found = rows(table(tree, "Images per class and split"))
    assert found[0] == ["Class", "Training", "Validation", "Test", "All"]
    assert found[1] == ["mono 0 %", "420", "140", "140", "700"]
    assert found[-1] == ["All classes", "1,000", "334", "306", "1,640"]


def test_the_classes_stand_in_the_order_of_the_transform(tree, facts):
    (order,) = [element for element in tree.all("ol") if "order" in element.classes]
    assert [item.text for item in order.all("li")] == [
        facts.dataset["classes"][index] for index in (3, 0, 4, 1, 5, 2)
    ]
    assert facts.class_order["sha256"] in tree.text
    assert order.parent.tag == "details"
    summary = next(order.parent.all("summary"))
    assert summary.text == "poly 0 %, mono 0 %, poly 33 %, … (6 classes)"


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"kind": "index"}, "Order of the classes: index"),
        ({"kind": "similarity"}, "What the teacher's mean logits have in common"),
        ({"kind": "similarity", "similarity": "weights"}, "the teacher's classifier weights have"),
        ({"kind": "random", "seed": 7}, "The seed is 7."),
        ({"kind": "file", "file": "<b>.txt"}, "It was read from <b>.txt"),
    ],
)
def test_the_order_says_what_it_was_made_from(facts, choice, said):
    order = ClassOrder(**choice).model_dump()
    student = replace(facts.student, recipe={**facts.student.recipe, "class_order": order})
    assert said in Tree(render(replace(facts, student=student))).root.text


def test_the_method_says_what_it_is(facts):
    def with_method(**changes):
        recipe = {**facts.student.recipe, **changes}
        return Tree(render(replace(facts, student=replace(facts.student, recipe=recipe)))).root

    figkd = with_method()
    assert "reconstructed here from the abstract of arXiv 2505.11897" in figkd.text
    assert "CVPR 2024) stands beside it, which is not in the abstract" in figkd.text
    plain = with_method(figkd={**facts.student.recipe["figkd"], "kd_share": 0.0})
    assert "CVPR 2024" not in plain.text
    options = dict(row[:2] for row in rows(table(figkd, "Options of the method")))
    assert options["wavelet"] == "haar" and options["weight"] == "0.15"

    kd = with_method(method="kd")
    assert "arXiv" not in kd.text
    options = dict(row[:2] for row in rows(table(kd, "Options of the method")))
    assert options["temperature"] == "4" and options["standardized"] == "no"

    labels_alone = with_method(method="cross_entropy")
    assert "learned from the labels alone" in labels_alone.text
    assert "arXiv" not in labels_alone.text


def test_a_model_that_is_slower_and_larger_than_the_teacher_is_not_called_faster(facts):
    swapped = replace(
        facts.evaluation.teacher,
        bytes=100_000,
        latency=replace(facts.evaluation.teacher.latency, round_ratios=[0.1 / 0.712] * 7),
    )
    on = replace(facts.chosen_on, evaluation=replace(facts.evaluation, teacher=swapped))
    tree = Tree(render(replace(facts, chosen_on=on))).root
    assert "6.8 times slower than the teacher" in tree.text
    assert "7.0 times larger than the teacher" in tree.text


def test_a_gain_is_not_called_a_loss(facts):
    drop = replace(facts.verified.drop_to_student, points=-1.5, low=-3.0, high=0.004)
    tree = Tree(render(replace(facts, verified=replace(facts.verified, drop_to_student=drop)))).root
    assert "it gains 1.50 points" in tree.text
    assert f"interval of the loss {MINUS}3.00 to 0.00" in tree.text


def test_an_origin_that_is_no_web_address_is_no_link(facts):
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
        "                   recovered=root / 'models/qat',\n"
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
    assert "other devices" not in tree.text
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
    elsewhere = [OnDevice(pi, replace(facts.host, cpu="Board 5"))]
    there = Tree(render(replace(facts, elsewhere=elsewhere))).root
    found = rows(table(there, "Measurements on pi"))
    assert [row[0].split()[0] for row in found if len(row) == 9][1:] == [
        *(m.name for m in evaluation.candidates[:2]),
        "openvino-fp16",
        "teacher",
    ]
    assert found[-4][1:] == [DASH] * 7 + ["0.92"]
    assert [row[0] for row in found if len(row) == 1] == [
        "Rejected: pi cannot run it: no <such> package.",
        "Not measured: pi cannot run it: out of memory.",
    ]
    assert "pi: Board 5" in next(table(there, "Measurements on pi").all("caption")).text
    assert pi.notes[0] in there.text
    assert len(rows(table(there, "Measurements of the candidates"))) == len(
        rows(table(tree, "Measurements of the candidates"))
    )


def test_the_ladder_is_shown_rung_by_rung(page, tree):
    ladder = table(tree, "Layers of onnxruntime-int8 in float")
    assert rows(ladder)[-2:] == [
        ["1", "blocks.1.0.conv_dw", "12.5", "6.2", "0.65", "2.50 1.00 to 5.50"],
        ["2", "blocks.0.0.<conv>", "25.0", "12.5", "0.65", "2.50 1.00 to 5.50"],
    ]
    said = " ".join(paragraph.text for paragraph in tree.all("p"))
    assert "No candidate was added: with <2> of 4 layers in float it still loses." in said
    assert "blocks.1.0.conv_dw (0.421), blocks.0.0.<conv> (0.100)." in said


@pytest.mark.parametrize(
    ("epoch", "kept"),
    [
        (2, "Epoch 2 was kept, chosen on these images"),
        (0, "No epoch was better than the start, which was kept"),
    ],
)
def test_it_tells_what_recovery_won_back(run, epoch, kept):
    run.recover(best_epoch=epoch)
    tree = Tree(render(run.read()))
    (said,) = [p.text for p in tree.root.all("p") if "int8 in the forward pass" in p.text]
    assert "69.1 % in fp32, 66.2 % with int8 in the forward pass, and 68.7 % after 3 epochs" in said
    assert "by figkd" in said and kept in said
    parity = rows(table(tree.root, "Differences between ONNX and PyTorch"))
    assert ["recovered/student.onnx", "7", "64", "7.0e-07", "2.0e-06", "1.0e-07", "100.0"] in parity
    assert parity[-1][:2] == ["recovered/student-b1.onnx", "1"]


def test_without_recovery_it_tells_of_none(page):
    assert "in the forward pass" not in page


def test_it_tells_how_int8_was_made(tree):
    (details,) = [d for d in tree.all("details") if d.text.startswith("How int8 was made")]
    assert [term.text for term in details.all("dt")] == [
        "onnxruntime-int8",
        "openvino-int8",
        "openvino-int8-b1",
    ]
    assert {value.text for value in details.all("dd")} == {"method static, types u8s8"}


def test_a_run_without_ladders_shows_none(facts):
    page = render(replace(facts, made={**facts.made, "ladders": []}))
    assert "in float" not in page
