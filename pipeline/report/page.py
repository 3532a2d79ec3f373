"""The report as a self-contained HTML page. The same facts give the same bytes."""

from collections.abc import Callable

from markupsafe import Markup

from pipeline.data.naming import data_name
from pipeline.measure.evaluation import Measured
from pipeline.plugins import SECTIONS
from pipeline.report.document import Page, Part, Section, blocks
from pipeline.report.facts import Facts
from pipeline.report.formats import megabytes
from pipeline.report.front import front_figure
from pipeline.report.headline import comparison, sentences
from pipeline.report.session_note import session_note

_ARCHIVE = Markup(
    "The archive <code>{}.tar.gz</code> ({} MB) contains the model, its class names, a manifest "
    "and the device runtime. The test accuracy was measured with the unpacked archive alone."
)


def render(facts: Facts) -> str:
    """Renders a header and all registered sections, in their order."""
    sections = sorted((SECTIONS[name].order, name, SECTIONS[name]) for name in SECTIONS.names())
    manifest, size = facts.manifest, megabytes(facts.verified.bundle_bytes)
    name_of_data = data_name(facts.dataset.source, facts.dataset.origin)
    return Page(
        kicker=f"{name_of_data}: shipped model{_level(facts)}",
        heading=facts.shipped.name,
        intro=[
            *_verdict(facts),
            *(blocks.paragraph(sentence, "lead") for sentence in sentences(facts)),
            *([blocks.paragraph(note)] if (note := session_note(facts.dataset)) else []),
            comparison(facts),
            front_figure(facts.evaluation, _kind_with_verdict(facts), name="front"),
            blocks.paragraph(_ARCHIVE.format(manifest.name, size)),
        ],
        sections=[Section(name, each.title, each.parts(facts)) for _, name, each in sections],
        footer=f"Written by {manifest.created_by}. All decisions are based on the validation "
        "images; only the acceptance test used the test images.",
    ).render()


def _level(facts: Facts) -> str:
    verdict = facts.manifest.verdict
    return f", verdict: {verdict.level}" if verdict else ""


def _verdict(facts: Facts) -> list[Part]:
    """Why the verdict is not ``pass``."""
    verdict = facts.manifest.verdict
    if verdict is None or not verdict.reasons:
        return []
    reasons = {each.name: f"{each.problem}. Remedy: {each.remedy}." for each in verdict.reasons}
    return [blocks.paragraph(f"Verdict: {verdict.level}", "warn"), blocks.terms(reasons)]


def _kind_with_verdict(facts: Facts) -> Callable[[Measured], str]:
    """The kind of a model in a chart of the device that the selection is based on."""
    return lambda m: facts.verdicts[m.name].status if m.name in facts.verdicts else facts.kind(m)
