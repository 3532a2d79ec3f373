"""Test images that the shipped model classifies wrongly: against the teacher, and against fp32."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pipeline.plugins import SECTIONS
from pipeline.report.contact_sheet import contact_sheet, shrink
from pipeline.report.document import Part, blocks
from pipeline.report.facts import Facts
from pipeline.report.formats import percent, plural
from pipeline.report.sections import section
from pipeline.shipping.answers import TopClasses

_SHOWN = 8  # images per group
_SIDE = 128  # of the images, in pixels
_TITLES = {"shipped": "Shipped", "student": "fp32 student", "teacher": "Teacher"}


@SECTIONS.register("wrong-images")
@section("Wrong images", order=54)
def wrong_images(facts: Facts) -> list[Part]:
    """The mistakes that the teacher does not make, and what quantization changed."""
    labels, models = facts.answers.labels, facts.answers.models
    right = {name: found.predictions == labels for name, found in models.items()}
    lost = np.flatnonzero(right["teacher"] & ~right["shipped"])
    parts: list[Part] = [
        f"{plural(len(lost), 'test image')} of {len(labels):,}: the teacher is right, and the "
        "shipped model is wrong. Those that it is most confident of come first. Bold: the class of "
        "the image; below, the most probable classes.",
        *_cards(facts, lost, ("shipped", "teacher")),
    ]
    if facts.ships_fp32:
        return parts
    changed = np.flatnonzero(models["shipped"].predictions != models["student"].predictions)
    count = plural(len(changed), "test image")
    correct = [int(right[name][changed].sum()) for name in ("student", "shipped")]
    verb = "has" if len(changed) == 1 else "have"
    text = (
        f"{count} of {len(labels):,} {verb} another class than with the fp32 student, which "
        f"classifies {correct[0]} of them correctly; the shipped model {correct[1]}."
    )
    cards = _cards(facts, changed, ("shipped", "student"))
    return [*parts, blocks.group("Changed by quantization", [text, *cards])]


def _cards(facts: Facts, images: NDArray[np.intp], models: Sequence[str]) -> list[Part]:
    """The images with the answers of two models; the first model's confidence orders them."""
    if not len(images):
        return []
    answers, classes = facts.answers, facts.dataset.classes
    confidence = answers.models[models[0]].probabilities[images, 0]
    chosen = images[np.argsort(-confidence, kind="stable")][:_SHOWN].tolist()
    cards = []
    for at in chosen:
        label, name = classes[answers.labels[at]], answers.names[at]
        lines = [Markup("<strong>{}</strong>").format(label)]
        lines += [
            Markup("{}: {}").format(_TITLES[model], _top(answers.models[model], at, classes))
            for model in models
        ]
        sheet = contact_sheet([shrink(facts.test.images[at], _SIDE)], 1)
        text = Markup("<br>").join([*lines, Markup('<span class="muted">{}</span>').format(name)])
        cards.append((blocks.image(sheet, f"test image {name}"), text))
    return [blocks.cards(cards)]


def _top(found: TopClasses, at: int, classes: Sequence[str]) -> str:
    ranked = zip(found.classes[at].tolist(), found.probabilities[at].tolist(), strict=True)
    return ", ".join(f"{classes[each]} {percent(probability)} %" for each, probability in ranked)
