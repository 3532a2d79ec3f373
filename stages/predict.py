"""Command ``predict``: classes of images, on this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from stages.command import json_option, tool
from stages.console import echo


@tool(
    reads="BUNDLE: an unpacked bundle, its .tar.gz, or the folder of a project with dist/; IMAGES: "
    "files, folders, or - for an image on standard input",
    writes="nothing; prints to standard output",
    options=[
        click.Argument(["bundle"], type=click.Path(path_type=Path)),
        click.Argument(["images"], nargs=-1, required=True),
        click.Option(
            ["--top"],
            type=click.IntRange(1, 1_000_000),
            default=3,
            show_default=True,
            help="Classes per image.",
        ),
        click.Option(
            ["--threads"],
            type=click.IntRange(1, 256),
            help="Threads of an inference; by default those that the bundle was measured with.",
        ),
        json_option("Print a list of {image, top, problem}."),
    ],
)
def predict(
    bundle: Path, images: tuple[str, ...], top: int, threads: int | None, as_json: bool
) -> None:
    """Classify images with a bundle on this machine.

    The images are read, and the model runs, as on a device. The exit code is 1 if an image cannot
    be read; the others are classified.
    """
    from dataclasses import asdict

    from pipeline.shipping.predict import find_bundle
    from pipeline.shipping.predict import predict as predict_images

    predictions = []
    for found in predict_images(find_bundle(bundle), images, top, threads):
        predictions.append(found)
        if found.problem:
            echo(f"finch predict: {found.problem}", err=True)
        if not as_json:
            for row, each in enumerate(found.top):
                name = found.image if row == 0 else " " * len(found.image)
                echo(f"{name}  {each['probability']:6.1%}  {each['label']}")
    if as_json:
        echo(json.dumps([asdict(each) for each in predictions], indent=2, ensure_ascii=False))
    if not all(each.top for each in predictions):
        sys.exit(1)


if __name__ == "__main__":
    predict()
