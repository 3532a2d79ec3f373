"""Inspection of the prepared data."""

from functools import partial

import click
from rich.console import Console
from rich.table import Table

from stages.command import Context, stage

_option = partial(click.Option, show_default=True)
_splits = click.Choice(["train", "val", "test"])


@stage(
    reads="data/prepared/; models/teacher/ if it exists",
    writes="reports/inspect.html",
    options=(
        _option(["--split"], type=_splits, default="train", help="Split whose images are shown."),
        _option(["--views"], type=click.IntRange(1, 64), default=8, help="Views per image."),
        _option(["--per-class"], type=click.IntRange(1, 100), default=4, help="Images per class."),
    ),
)
def inspect(context: Context, split: str, views: int, per_class: int) -> None:
    """Show augmented views, images per class, and the confusions of the teacher."""
    from typing import cast

    from pipeline.data.prepared import open_prepared
    from pipeline.data.sources import SplitName
    from pipeline.files import whole_file
    from pipeline.report.inspection import Confusion, most_frequent_confusions, render_inspection

    paths = context.paths
    data = open_prepared(paths.prepared)
    confusions: list[Confusion] | None = None
    if (paths.teacher / "model.json").exists():
        from pipeline.models.classifier import load_classifier
        from pipeline.training.device import prepare_torch
        from pipeline.training.validation import compute_logits

        device = prepare_torch(context.params.run)
        teacher, record = load_classifier(paths.teacher, device)
        val = data.split("val")
        if record["data"] != data.fingerprint:
            context.log.warning(
                "models/teacher was trained on other data; its confusions are left out"
            )
        elif len(val):
            confusions = most_frequent_confusions(
                compute_logits(teacher, val, device), val.labels, data.classes
            )
    page = render_inspection(
        data,
        cast(SplitName, split),
        context.params.views,
        views=views,
        per_class=per_class,
        confusions=confusions,
    )
    with whole_file(paths.reports / "inspect.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    splits = data.info["splits"]
    table = Table("class", *splits, title=f"{data.info['source']}, {data.image_size} px")
    for label, name in enumerate(data.classes):
        table.add_row(name, *(str(info["per_class"][label]) for info in splits.values()))
    table.add_section()
    table.add_row("all", *(str(info["images"]) for info in splits.values()))
    console = Console()
    console.print(table)
    for confusion in confusions or []:
        console.print(
            f"{confusion.label} classified as {confusion.predicted}: "
            f"{confusion.count} of {confusion.total} images",
            markup=False,
            highlight=False,
        )
    context.log.info("wrote reports/inspect.html: %d augmented views per image", views)


if __name__ == "__main__":
    inspect()
