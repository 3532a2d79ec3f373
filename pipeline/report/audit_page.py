"""The audit of a data set as a self-contained HTML page."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from finch_runtime.image_size import height_and_width
from markupsafe import Markup
from numpy.typing import NDArray

from pipeline.data.audit import ELONGATED, Audit, report
from pipeline.data.decoding_checks import DARK
from pipeline.data.naming import data_name
from pipeline.report.contact_sheet import contact_sheet, evenly_spaced, shrink
from pipeline.report.document import Page, Part, Section, blocks
from pipeline.report.formats import DASH, SPLIT_TITLES, TIMES, pixels, plural
from pipeline.report.table import text_table

_LARGE, _SMALL = 96, 64  # side of the thumbnails of duplicates and of classes, in pixels
_CLASS_THUMBNAILS = 900  # in total, which keeps the page below 5 MB
_PER_CLASS = 14
_COPIES, _PER_GROUP, _PAIRS, _ROWS = 40, 6, 80, 100

Finding = Mapping[str, Any]
Found = tuple[Finding, Sequence[int]]  # with the indices of its first images


def render_audit(audit: Audit) -> str:
    """Renders the page. The same audit gives the same bytes."""
    facts = report(audit)
    near, size = facts["near_duplicates"], pixels(facts["image_size"])
    exact_text = "Identical files, or files with identical pixels after preprocessing."
    near_text = (
        f"Pairs whose {near['bits']}-bit perceptual hashes differ in at most {near['distance']} "
        "bits. Pairs across splits make the measured accuracy too optimistic."
    )
    copies = _worst_first(facts["exact_duplicates"], audit.copies)
    pairs = _worst_first(near["pairs"], audit.near.pairs.tolist())
    return Page(
        kicker="Audit",
        heading=data_name(audit.dataset.name, audit.dataset.origin),
        intro=[
            f"{facts['counts']['photographs']:,} images, {len(facts['classes'])} classes. "
            f"Duplicates are detected after preprocessing: {size}, fit: {facts['fit']}."
            f"{'' if audit.splits else ' The stage stopped before splitting.'}",
            *(f"{remark[:1].upper()}{remark[1:]}." for remark in facts["remarks"]),
            blocks.tiles(_tiles(facts["counts"], complete=near["complete"])),
        ],
        sections=[
            _duplicates(audit, "Exact duplicates", exact_text, copies, _COPIES),
            _duplicates(audit, "Near-duplicates", near_text, pairs, _PAIRS),
            *_tables(facts),
            Section("classes", "Classes", _classes(audit, facts["classes"])),
        ],
    ).render()


def _duplicates(audit: Audit, title: str, text: str, found: list[Found], most: int) -> Section:
    thumbnails = _thumbnails(audit, {i for _, indices in found[:most] for i in indices}, _LARGE)
    cards = [
        (
            blocks.image(contact_sheet([thumbnails[i] for i in indices], 3), title),
            _describe(finding),
        )
        for finding, indices in found[:most]
    ]
    return _section(title, text, blocks.cards(cards), len(found), most)


def _classes(audit: Audit, rows: Sequence[Finding]) -> list[Part]:
    """Examples of every class."""
    most = min(_PER_CLASS, max(1, _CLASS_THUMBNAILS // len(rows)))
    labels = np.array([sample.label for sample in audit.usable.samples], dtype=np.int64)
    examples = [evenly_spaced(np.flatnonzero(labels == label), most) for label in range(len(rows))]
    thumbnails = _thumbnails(audit, set().union(*examples), _SMALL)
    groups: list[Part] = []
    for row, indices in zip(rows, examples, strict=True):
        images: list[Part] = []
        if indices:
            sheet = contact_sheet([thumbnails[i] for i in indices], _PER_CLASS)
            images = [blocks.image(sheet, f"images of {row['name']}")]
        groups.append(blocks.group(row["name"], images, _count(row)))
    return groups


def _tiles(counts: Mapping[str, Any], *, complete: bool) -> list[tuple[str, str, str]]:
    """Label, value and explanation of each tile; ``complete`` is False for a partial search."""
    bad, copies, near = counts["bad"], counts["exact_duplicates"], counts["near_duplicates"]
    across = "{across_splits} across splits, {across_labels} with several labels"
    pairs, imbalance = (DASH, "not searched"), (DASH, "a class is empty")
    sessions = (DASH, "the files do not tell them")
    if "sessions" in counts:
        sessions = (f"{counts['sessions']['found']:,}", _sessions(counts["sessions"]))
    if near:
        number = f"{'' if complete else '> '}{near['found']:,}"
        pairs = (number, f"pairs; {across.format(**near)}")
    if counts["imbalance"] is not None:
        imbalance = (f"{counts['imbalance']:.1f}", "largest class / smallest class")
    unusual = {
        "uniform": counts["flat"],
        **{key: counts[key] for key in ("dark", "small", "elongated")},
        "with another suffix": counts["other_format"],
    }
    explained = ", ".join(f"{count} {name}" for name, count in unusual.items())
    return [
        ("Unusable", _warning(bad), ""),
        (
            "Not read",
            _warning(counts["unread"]),
            f"images; also {counts['other_files']:,} other files",
        ),
        ("Exact duplicates", f"{copies['found']:,}", across.format(**copies)),
        ("Near-duplicates", *pairs),
        ("Sessions", *sessions),
        ("Class imbalance", *imbalance),
        ("Unusual", f"{sum(unusual.values()):,}", explained),
    ]


def _sessions(counts: Mapping[str, Any]) -> str:
    """What tells the sessions, and the images that share one with training."""
    told = {"capture_time": "capture times", "folder": "folders", "name": "file names"}
    shared = [
        f"; {found['shared']:,} of {found['images']:,} {SPLIT_TITLES[split].lower()} images share "
        "one with training"
        for split, found in counts["shared"].items()
    ]
    return f"told by {told[counts['told_by']]}{''.join(shared)}"


def _warning(count: int) -> str:
    return Markup('<span class="warn">{:,}</span>').format(count) if count else "0"


def _passed_over(kinds: Sequence[Finding]) -> Section:
    rows = [
        [
            kind["suffix"] or DASH,
            "image" if kind["is_image"] else "other",
            f"{kind['files']:,}",
            ", ".join(kind["examples"]),
        ]
        for kind in kinds
    ]
    title = "Files that are not read"
    table = text_table(title, ("Suffix", "Kind", "Files", "Examples"), rows)
    return _section(title, "Files in the folder of the source.", table, len(rows), len(rows))


def _tables(facts: Mapping[str, Any]) -> list[Section]:
    """One section per kind of finding, with the first images."""

    def cells(finding: Finding) -> list[str]:
        if "group" in finding:
            return [finding["group"], ", ".join(SPLIT_TITLES[s] for s in finding["splits"])]
        size = f"{finding['width']} {TIMES} {finding['height']}" if "width" in finding else None
        more = finding.get("problem", size)
        return [finding["name"], _class_and_split(finding), *([more] if more else [])]

    def kind(key: str, title: str, text: str, *headings: str) -> Section:
        table = text_table(title, headings, map(cells, facts[key][:_ROWS]))
        return _section(title, text, table, len(facts[key]), _ROWS)

    content = "Such images are read by their content."
    dark = (
        f"99 % of their pixels are below {DARK:g} of 255. Pixels of 10 or 12 bits that are stored "
        "in 16 bits appear so: multiply them by 64 or 16."
    )
    separated = "The published splits separate images of one group."
    low, high = sorted(height_and_width(facts["image_size"]))
    small = f"A side is below {low} pixels."
    elongated = f"One side is more than {ELONGATED:g} times the other."
    if low < high:
        small = f"The shorter side is below {low} pixels, or the longer one below {high}."
        elongated = (
            "The longer side by the shorter one is more than "
            f"{ELONGATED:g} times that of the input, or less than 1/{ELONGATED:g} of it."
        )
    return [
        _passed_over(facts["passed_over"]),
        kind("other_format", "Suffixes of other formats", content, "Name", "Class", "Content"),
        kind(
            "bad", "Unusable images", "They are not examined further.", "Name", "Class", "Problem"
        ),
        kind("parted_groups", "Groups in several splits", separated, "Group", "Splits"),
        kind("flat", "Uniform images", "Their gray levels hardly differ.", "Name", "Class"),
        kind("dark", "Dark images", dark, "Name", "Class"),
        kind("small", "Small images", small, "Name", "Class", "Pixels"),
        kind("elongated", "Elongated images", elongated, "Name", "Class", "Pixels"),
    ]


def _section(title: str, text: str, content: Part, found: int, most: int) -> Section:
    parts = [text, content]
    if found > most:
        parts.append(f"{most:,} of {found:,} shown; audit.json lists all.")
    return Section(title.lower().replace(" ", "-"), title, parts if found else [])


def _describe(finding: Finding) -> Markup:
    """Images of a finding, how similar they are, and what is wrong with them."""
    images = finding["photographs"]
    names = Markup(", ").join(
        Markup('{} <span class="muted">({})</span>').format(each["name"], _class_and_split(each))
        for each in images[:_PER_GROUP]
    )
    more = f" and {len(images) - _PER_GROUP} more" if len(images) > _PER_GROUP else ""
    similar = f"same {finding['by']}" if "by" in finding else f"{finding['distance']} bits"
    warnings = {"across_splits": "in several splits", "across_labels": "with several labels"}
    warning = " ".join(text for key, text in warnings.items() if finding[key])
    return Markup('{}{}<br>{} <span class="warn">{}</span>').format(names, more, similar, warning)


def _count(row: Mapping[str, Any]) -> str:
    """Usable images of a class, per split if there are splits, unusable ones, and sessions."""
    splits = [f"{row[key]} {title.lower()}" for key, title in SPLIT_TITLES.items() if key in row]
    more = [
        f"; {row[key]} {title}"
        for key, title in (("bad", "unusable"), ("unread", "not read"))
        if row[key]
    ]
    if row["near_duplicates"]:
        more.append(f"; {row['near_duplicates']} with a near-duplicate")
    if "sessions" in row:
        more.append(f"; {plural(row['sessions'], 'session')}")
    counts = f"{': ' if splits else ''}{', '.join(splits)}{''.join(more)}"
    return f"{plural(row['usable'], 'image')}{counts}"


def _class_and_split(image: Finding) -> str:
    split = image.get("split")
    return f"{image['class']}, {SPLIT_TITLES[split].lower()}" if split else str(image["class"])


def _worst_first(findings: Sequence[Finding], indices: Iterable[Sequence[int]]) -> list[Found]:
    """Findings with their images: those across splits first, then those with several labels."""

    def order(found: Found) -> tuple[bool, bool, int]:
        finding = found[0]
        across = (not finding["across_splits"], not finding["across_labels"])
        return *across, finding.get("distance", 0)

    limited = (each[:_PER_GROUP] for each in indices)
    return sorted(zip(findings, limited, strict=True), key=order)


def _thumbnails(audit: Audit, wanted: set[int], side: int) -> dict[int, NDArray[np.uint8]]:
    indices = sorted(wanted)
    return {
        indices[at]: shrink(image, side)
        for ats, pixels in audit.usable.select(indices).pixels()
        for at, image in zip(ats, pixels, strict=True)
    }
