"""A look at any prepared set."""

import click
from rich.console import Console
from rich.table import Table

from stages.command import Context, stage


@stage(
    reads="data/prepared/; models/teacher/ when it is there",
    writes="reports/inspect.html",
    takes=(
        click.Option(
            ["--split"],
            type=click.Choice(["train", "val", "test"]),
            default="train",
            show_default=True,
            help="Split whose views are shown.",
        ),
        click.Option(
            ["--views"],
            type=click.IntRange(1, 64),
            default=8,
            show_default=True,
            help="Views of every photograph.",
        ),
        click.Option(
            ["--per-class"],
            type=click.IntRange(1, 100),
            default=4,
            show_default=True,
            help="Photographs of every class.",
        ),
    ),
)
def inspect(context: Context, split: str, views: int, per_class: int) -> None:
    """Show views as the student sees them, class counts, and what the teacher confuses."""
    from typing import cast

    from pipeline.data.prepared import open_prepared
    from pipeline.data.sources.photos import SplitName
    from pipeline.files import whole_file
    from pipeline.report.inspection import Confusion, commonest_mistakes, render_inspection

    place = context.place
    data = open_prepared(place.prepared)
    confusions: list[Confusion] | None = None
    if (place.teacher / "model.json").exists():
        from pipeline.models.classifier import load_classifier
        from pipeline.training.device import prepare_torch
        from pipeline.training.validation import compute_logits

        device = prepare_torch(context.params.run)
        teacher, record = load_classifier(place.teacher, device)
        val = data.split("val")
        if record["data"] != data.fingerprint:
            context.log.warning("models/teacher was trained on other data, and is left out")
        elif len(val):
            confusions = commonest_mistakes(
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
    with whole_file(place.reports / "inspect.html") as temporary:
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
            f"{confusion.label} for {confusion.taken_for}: {confusion.images} of {confusion.of}",
            markup=False,
            highlight=False,
        )
    context.log.info("wrote reports/inspect.html: %d views of each photograph", views)


if __name__ == "__main__":
    inspect()
