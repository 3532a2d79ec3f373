"""Inspection of the prepared data."""

from functools import partial
from typing import TYPE_CHECKING, cast

import click

from stages.command import Context, stage
from stages.console import echo, print_markdown

if TYPE_CHECKING:
    from pipeline.data.prepared import PreparedData
    from pipeline.data.sources import SplitName
    from pipeline.report.confusions import Confusion

_option = partial(click.Option, show_default=True)
_splits = click.Choice(["train", "val", "test"])


@stage(
    reads="data/prepared/; models/teacher/ if it exists",
    writes="reports/inspect.html",
    options=(
        _option(["--split"], type=_splits, default="train", help="Split of the images."),
        _option(
            ["--views"], type=click.IntRange(1, 64), default=8, help="Augmented views per image."
        ),
        _option(["--per-class"], type=click.IntRange(1, 100), default=4, help="Images per class."),
    ),
)
def inspect(context: Context, split: str, views: int, per_class: int) -> None:
    """Write a page with augmented images and class counts.

    If there is a teacher, the page also lists its most frequent confusions.
    """
    from pipeline.data.prepared import open_prepared
    from pipeline.files import atomic_file
    from pipeline.report.inspection import render_inspection
    from pipeline.report.table import images_per_class

    data, recipe = open_prepared(context.paths.prepared), context.params.views
    shown, confusions = cast("SplitName", split), _confusions(context, data)
    page = render_inspection(
        data, shown, recipe, views=views, per_class=per_class, confusions=confusions
    )
    with atomic_file(context.paths.reports / "inspect.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    print_markdown(images_per_class(data.info).markdown())
    for confusion in confusions or []:
        echo(str(confusion))
    context.log.info("wrote reports/inspect.html: %d augmented views per image", views)


def _confusions(context: Context, data: "PreparedData") -> "list[Confusion] | None":
    """The teacher's most frequent confusions; None if no teacher was trained on this data."""
    from pipeline.models.classifier import load_classifier
    from pipeline.report.confusions import most_frequent_confusions
    from pipeline.training.device import prepare_torch
    from pipeline.training.validation import compute_logits

    folder = context.paths.teacher
    if not (folder / "model.json").exists() or not data.info.splits["val"].images:
        return None
    device = prepare_torch(context.params.run)
    teacher, record = load_classifier(folder, device)
    if record.get("data") != data.fingerprint:
        context.log.warning("models/teacher was trained on other data; its confusions are left out")
        return None
    val = data.split("val", teacher.spec.image_size)
    logits = compute_logits(teacher, val, device)
    return most_frequent_confusions(logits.argmax(axis=1), val.labels, data.classes)


if __name__ == "__main__":
    inspect()
