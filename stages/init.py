"""Command ``init``: a project of one's own."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.errors import DataError, FinchError
from stages.command import tool
from stages.console import echo, track
from stages.interruption import Interrupted

if TYPE_CHECKING:
    from pipeline.data.sources import ImageDataset
    from pipeline.params import Params
    from pipeline.scout.measuring import Student
    from stages.workspace import Workspace

_FOLDER = click.Path(path_type=Path)


@tool(
    reads="the image folder; with --latency-ms, this machine",
    writes="DIR: params.yaml, dvc.yaml, scout.yaml, compare.yaml, README.md, a git and a DVC "
    "repository",
    options=[
        click.Argument(["folder"], metavar="DIR", type=_FOLDER),
        click.Option(
            ["--images"],
            required=True,
            type=_FOLDER,
            help="Folder with one folder of images per class.",
        ),
        click.Option(
            ["--preset"],
            help="Networks and method of a preset; `finch presets list` prints all names.",
        ),
        click.Option(
            ["--latency-ms"],
            type=click.FloatRange(min=0, min_open=True),
            help="Choose the largest student within this p50 latency on this machine, in "
            "milliseconds. Measures for some minutes.",
        ),
    ],
)
def init(folder: Path, images: Path, preset: str | None, latency_ms: float | None) -> None:
    """Create a project for your images in DIR, a new folder.

    Its stages are commands of the installed Finch. Prints the classes, sizes, duplicates and
    unusable files of the images. `dvc repro` in DIR then makes the bundle.
    """
    from pipeline.new_project.files import (
        set_params,
        write_dvc_files,
        write_files,
        write_schema,
    )
    from pipeline.params import load_params
    from pipeline.params.editing import as_yaml
    from pipeline.presets import apply_preset
    from stages.repository import check_git, commit_all, init_repositories
    from stages.workspace import Workspace

    check_git()
    images, paths = images.expanduser().resolve(), Workspace(folder)
    _check_folders(folder, images)
    with _unfinished(folder) as new:
        inside = images.is_relative_to(folder.resolve())
        path = images.relative_to(folder.resolve()).as_posix() if inside else str(images)
        write_files(new, folder.resolve().name, path)
        if preset:
            apply_preset(preset, new / "params.yaml", own_images=True)
        params = load_params(new / "params.yaml", [f"prepare.path={as_yaml(str(images))}"])
        dataset = _read_images(params, images)
        if latency_ms is not None:
            student = _choose_student(params, latency_ms, preset, paths)
            set_params(new / "params.yaml", student)
            set_params(new / "scout.yaml", {"latency_ms": latency_ms})
            params = load_params(new / "params.yaml", [f"prepare.path={as_yaml(str(images))}"])
        init_repositories(new)
        write_dvc_files(new)
        commit_all(new)
        for each in sorted(new.iterdir()):
            each.rename(folder / each.name)
        write_schema(folder / ".finch")
    try:
        _show_images(params, dataset, paths)
    except Interrupted as stop:
        echo(f"finch init: interrupted; the project {folder} is complete", err=True)
        sys.exit(128 + stop.number)
    echo(f"\nnext: cd {shlex.quote(str(folder))} && dvc repro")


def _check_folders(folder: Path, images: Path) -> None:
    """Refuses a folder that has more than the images and what an earlier attempt measured."""
    if not images.is_dir():
        remedy = "pass the folder that has one folder of images per class"
        raise DataError(f"--images {images}", "is not a folder", remedy)
    if folder.exists() and not folder.is_dir():
        raise FinchError(folder, "is a file", "choose a new folder")
    home = folder.resolve()
    allowed = {".finch"}
    if images != home and images.is_relative_to(home):
        allowed.add(images.relative_to(home).parts[0])
    found = sorted({each.name for each in home.iterdir()} - allowed) if home.exists() else []
    if found:
        problem = f"is not empty, it has {found[0]!r}"
        raise FinchError(folder, problem, "choose a new or empty folder for the project")


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """An empty folder inside ``folder``; of both, only what was measured is left after an error."""
    import shutil

    from pipeline.files import explain_storage
    from pipeline.unfinished import remove_leftovers, temporary_path

    hidden = folder / ".finch"
    made = [each for each in (hidden, *hidden.parents) if not each.exists()]
    with explain_storage(folder):
        hidden.mkdir(parents=True, exist_ok=True)
        remove_leftovers(hidden / "new")
        new = temporary_path(hidden / "new")
        new.mkdir()
        try:
            yield new
        finally:
            shutil.rmtree(new, ignore_errors=True)
            for each in made:
                if not any(each.iterdir()):
                    each.rmdir()


def _read_images(params: Params, images: Path) -> ImageDataset:
    """Lists the images.

    Raises:
        DataError: They are not in class folders.
    """
    from pipeline.data.sources import read_source

    try:
        return read_source(params.prepare)
    except DataError as error:
        is_folder = str(error.thing) in (str(images), "source 'folder'")
        problem = error.problem if is_folder else f"{error.thing}: {error.problem}"
        remedy = error.remedy.replace("set prepare.path to what", "pass the folder that")
        raise DataError(f"--images {images}", problem, remedy) from None


def _choose_student(
    params: Params, latency_ms: float, preset: str | None, paths: Workspace
) -> dict[str, object]:
    """Sections of ``params.yaml`` with the largest student within the latency."""
    from pipeline.presets import load_preset
    from pipeline.scout.first_student import TIERS, find_student
    from pipeline.scout.images import find_images
    from pipeline.scout.measuring import ScoutSetup
    from pipeline.training.device import prepare_torch

    if preset and "model" in load_preset(preset).get("distill", {}):
        problem = f"contradicts --preset {preset}, which names the student"
        raise FinchError("--latency-ms", problem, "leave out one of the two")
    prepare_torch(params.run)
    setup = ScoutSetup(
        images=find_images(paths.prepared, params.prepare),
        candidates=params.quantize.candidates,
        opset=params.export.opset,
        scout=TIERS[0].scout(latency_ms=latency_ms),
        threads=params.evaluate.threads,
        runtime_folder=paths.runtime,
    )
    return find_student(setup, paths.scouted_students, track=track, on_measured=_show_student)


def _show_student(student: Student) -> None:
    from finch_runtime.image_size import in_pixels

    from pipeline.scout.proposal import summary

    name = f"{student.model} at {in_pixels(student.image_size)}"
    echo(summary(student) if student.best else f"{name}: {student.problem}")


def _show_images(params: Params, dataset: ImageDataset, paths: Workspace) -> None:
    """Prints a first look at the images. `prepare` uses what was decoded for it."""
    from pipeline.data.audit import examine
    from pipeline.new_project.first_look import describe_images
    from stages.images import decode_images

    decoded = decode_images(params, dataset.samples, paths.partial_prepare)
    near_distance = params.prepare.near_duplicate_distance
    audit = examine(dataset, decoded, near_distance=near_distance, track=track)
    for line in describe_images(audit):
        echo(line)


if __name__ == "__main__":
    init()
