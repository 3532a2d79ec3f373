"""The page as a whole: structure, header, escaping and sections of other packages."""

import importlib
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace

from scipy.stats import binomtest

from pipeline.plugins import SECTIONS
from pipeline.report.page import render
from tests.pipeline.report.html_tree import Tree, rows, table

MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
DASH = "\N{EN DASH}"


def exact_interval(accuracy, images):
    return binomtest(round(accuracy * images), images).proportion_ci(method="exact")


def test_the_page_is_self_contained(page, tree):
    assert page.startswith("<!DOCTYPE html>")
    forbidden = ("script", "link", "iframe", "object", "embed", "base", "form")
    assert [element.tag for element in tree.all(*forbidden)] == []
    images = [image.attributes["src"] for image in tree.all("img")]
    assert images and all(src.startswith("data:image/webp;base64,") for src in images)
    for element in tree.all():
        for name in ("href", "xlink:href", "srcset", "style", "background"):
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
    assert tables
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
    assert pictures
    for picture in pictures:
        title = next(picture.all("title"))
        assert picture.attributes["role"] == "img" and len(title.text) > 40
        assert picture.attributes["aria-labelledby"] == title.attributes["id"]
    defined = set(re.findall(r"(--\w+):", page))
    assert set(re.findall(r"var\((--\w+)\)", page)) <= defined


def test_long_lists_are_folded_and_show_names_of_parameters_as_code(tree, facts):
    assert "`" not in tree.text
    folded = [details for details in tree.all("details") if "open" not in details.attributes]
    labels = {
        div.attributes.get("aria-label")
        for details in folded
        for div in details.all("div")
        if "scroll" in div.classes
    }
    assert {"Recipes of teacher and student", "Options of the method"} <= labels
    hashes = [code.text for details in folded for code in details.all("code")]
    assert facts.verified.bundle_sha256 in hashes


def test_the_header_has_the_shipped_model_and_its_figures(tree, facts):
    header = next(tree.all("header"))
    assert next(header.all("h1")).text == "openvino-int8-b1"
    text = header.text.replace("\N{NO-BREAK SPACE}", " ")
    verified = facts.verified
    assert facts.manifest.chosen.reason in text
    models = {
        row[0]: row[1:] for row in rows(table(tree, "Teacher, fp32 student and shipped model"))
    }
    columns = (verified.teacher, verified.student, verified.shipped)
    for cell, figures in zip(models["Test accuracy"], columns, strict=True):
        shown = cell.replace("\N{NO-BREAK SPACE}", " ")
        low, high = (100 * end for end in exact_interval(figures.accuracy, 306))
        assert shown == f"{100 * figures.accuracy:.1f} % {low:.1f} to {high:.1f}"
    assert models["Model size"][:2] == ["13.53 MB", "1.65 MB"]
    assert models["Multiply-adds"][0] == "71.2 M" and models["Peak memory"] == ["61 MB"] * 3
    # 6 predictions lost and 3 gained of 306; the interval is what `paired_drop` gives.
    assert f"0.98 points (95 % CI {MINUS}1.27 to 3.38)" in text
    # 2.76 / 0.68 ms, 13.53 / 0.70 MB, 71.2 / 10.8 million
    assert f"4.1{TIMES} faster" in text
    assert f"19.3{TIMES} smaller" in text
    assert f"6.6{TIMES} cheaper" in text


def test_a_shipped_fp32_student_is_not_compared_with_itself(facts):
    chosen = replace(facts.manifest.chosen, name=facts.evaluation.reference)
    none = replace(facts.verified.drop_to_student, points=0.0, low=-8.22, high=8.22)
    shipped = replace(
        facts,
        manifest=replace(facts.manifest, chosen=chosen),
        verified=replace(facts.verified, drop_to_student=none),
    )
    root = Tree(render(shipped)).root
    header = next(root.all("header"))
    assert "The shipped file is the fp32 student." in header.text
    assert "8.22" not in header.text and "vs. the fp32 student" not in header.text
    found = rows(table(root, "Teacher, fp32 student and shipped model"))
    assert [cell.split()[0] for cell in found[0][1:]] == ["Teacher", "Shipped"]


def test_the_headline_has_the_verdict_and_its_reasons(run, tree):
    header = next(tree.all("header"))
    assert "shipped model, verdict: pass" in header.text
    reason = {"name": "min_class_recall", "level": "warn", "problem": "0 for <x>", "remedy": "look"}
    run.change("dist/manifest.json", "verdict", to={"level": "warn", "reasons": [reason]})
    root = Tree(render(run.read())).root
    header = next(root.all("header"))
    assert "shipped model, verdict: warn" in header.text
    assert "verdict: warn" in next(root.all("title")).text
    first = header.text.index("min_class_recall")
    assert "0 for <x>. Remedy: look." in header.text[first:]
    assert first < header.text.index("Test accuracy"), "before the figures"


def test_a_bundle_of_an_earlier_version_has_no_verdict(run):
    run.change("dist/manifest.json", "verdict", to=None)
    assert "verdict" not in Tree(render(run.read())).root.text.casefold()


def test_a_model_that_is_slower_and_larger_than_the_teacher_is_not_called_faster(facts):
    swapped = replace(
        facts.evaluation.teacher,
        bytes=100_000,
        latency=replace(facts.evaluation.teacher.latency, round_ratios={"p50": [0.1 / 0.712] * 7}),
    )
    evaluation = replace(facts.evaluation, teacher=swapped)
    tree = Tree(render(replace(facts, evaluation=evaluation))).root
    assert f"6.8{TIMES} slower" in tree.text and f"{TIMES} faster" not in tree.text
    assert f"7.0{TIMES} larger" in tree.text and f"{TIMES} smaller" not in tree.text


def test_where_the_device_cannot_run_the_teacher_rows_and_figures_say_so(run):
    run.remove_teacher()
    page = render(run.read())
    root = Tree(page).root
    models = {
        row[0]: row[1:] for row in rows(table(root, "Teacher, fp32 student and shipped model"))
    }
    assert models["p50 latency"][0] == f"{DASH} local cannot run the teacher"
    assert (models["Model size"][0], models["Peak memory"][0]) == ("13.53 MB", DASH)
    assert "teacher" not in next(svg for svg in root.all("svg")).text
    assert "local cannot run the teacher" in root.text
    assert root.text.count("needs <400>") == 1
    assert f"19.3{TIMES} smaller" in root.text


NOTHING = re.compile(r"\b(None|nan|NaN|inf|null)\b")


def test_the_page_never_shows_a_missing_value_as_none_or_nan(run, page):
    assert not NOTHING.search(Tree(page).root.text)
    run.remove_teacher()
    for keys in (("top5",), ("footprint", "peak_bytes"), ("throughput", "sustained")):
        run.change("reports/evaluations/local.json", "candidates", 5, *keys, to=None)
    run.change("reports/verify.json", "shipped", "recalls", 4, to=None)
    run.record_again()
    assert not NOTHING.search(Tree(render(run.read())).root.text)


def test_a_gain_is_a_negative_drop(facts):
    drop = replace(facts.verified.drop_to_student, points=-1.5, low=-3.0, high=-0.004)
    tree = Tree(render(replace(facts, verified=replace(facts.verified, drop_to_student=drop)))).root
    text = tree.text.replace("\N{NO-BREAK SPACE}", " ")
    assert f"{MINUS}1.50 points (95 % CI {MINUS}3.00 to 0.00)" in text


def test_the_same_files_give_the_same_bytes_in_another_process(run, page):
    program = (
        "import sys; from pathlib import Path\n"
        "from pipeline.report.page import render\n"
        "from pipeline.report.reading import ReportInputs, read_facts\n"
        "root = Path(sys.argv[1])\n"
        "names = ('teacher', 'student', 'qat', 'candidates')\n"
        "folders = {name: root / 'models' / name for name in names}\n"
        "inputs = ReportInputs(prepared=root / 'data/prepared', reports=root / 'reports',\n"
        "                      manifest=root / 'dist/manifest.json', **folders)\n"
        "sys.stdout.buffer.write(render(read_facts(inputs)).encode())\n"
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
