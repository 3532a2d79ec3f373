"""Text of a page, wherever it comes from."""

from pipeline.report.document import Page, Section, blocks

HOSTILE = "Aral\u202egnp.exe\u2066\x1b[2J\x00\ufeff<script>"
SHOWN = r"Aral\u202egnp.exe\u2066\x1b[2J\x00\ufeff&lt;script&gt;"


def test_hidden_characters_and_markup_are_shown_everywhere():
    parts = [HOSTILE, blocks.group(HOSTILE, [], HOSTILE)]
    page = Page(HOSTILE, HOSTILE, [HOSTILE], [Section("a", HOSTILE, parts)], HOSTILE).render()
    assert page.count(SHOWN) >= 7
    assert all(line.isprintable() or "\u00a0" in line for line in page.split("\n"))
    assert "<script" not in page


def test_text_in_any_language_stays():
    names = "crème 漢字 می‌خواهم 👩‍🔬"
    assert names in Page("", names, []).render()
