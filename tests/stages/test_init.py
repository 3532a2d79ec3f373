"""`finch init`: a project for a folder of images."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

import stages.images
from pipeline.params import load_params
from pipeline.scout import first_student
from pipeline.scout.measuring import Student, Timing
from stages import command
from stages.app import main
from stages.interruption import Interrupted
from tests.small_project import CLASSES, write_photos


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with ``photos/``, in a home without a configuration of git."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(command, "raise_interrupts", lambda: None)
    write_photos(tmp_path / "photos", per_class=3)
    return tmp_path


def init(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["init", *arguments])


def git(project: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=project, capture_output=True, text=True, check=True)
    return done.stdout


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_project_is_committed_and_the_images_are_described(work: Path) -> None:
    disc = work / "photos/disc"
    (disc / "000.png").write_bytes((disc / "001.png").read_bytes()[:300])
    (disc / "copy.png").write_bytes((disc / "001.png").read_bytes())
    (work / "photos/readme.txt").touch()
    done = init("my birds", "--images", "photos")
    assert done.exit_code == 0, done.output
    words = (
        "13 images of 4 classes",
        "disc/000.png",
        "prepare.on_bad",
        "disc/001.png = ",
        "1 .txt",
    )
    assert all(word in done.output for word in words), done.output
    assert "cd 'my birds' && dvc repro" in done.output

    project = work / "my birds"
    params = load_params(project / "params.yaml")
    assert (params.prepare.path, params.bundle.name) == (str(work / "photos"), "my-birds")
    assert params.distill.freeze_below > 0  # of the recipe for photographs
    assert git(project, "rev-list", "--count", "HEAD").strip() == "1"
    assert git(project, "status", "--porcelain") == ""
    assert git(project, "check-ignore", ".finch", "data/x", "models/x").split() != []
    schema = (project / "params.yaml").read_text().partition("$schema=")[2].split()[0]
    assert (project / schema).is_file()


def test_images_inside_the_project_are_not_put_into_git(work: Path) -> None:
    done = init(".", "--images", "photos")
    assert done.exit_code == 0, done.output
    assert load_params(work / "params.yaml").prepare.path == "photos"
    assert "photos" not in git(work, "ls-files")
    assert git(work, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["full", "--images", "photos"], ["full", "'notes.txt'", "choose a new or empty folder"]),
        (["photos", "--images", "photos"], ["photos", "choose a new or empty folder"]),
        (["new", "--images", "nowhere"], ["--images", "nowhere", "one folder of images per class"]),
        (["new", "--images", "flat"], ["flat", "no class folders", "make one folder per class"]),
        (["new", "--images", "one"], ["has 1 class", "pass the folder that contains them"]),
        (["a/b/new", "--images", "flat"], ["flat", "no class folders"]),
        (["new", "--images", "photos", "--preset", "papr"], ["'papr'", "did you mean paper"]),
        (["new", "--images", "photos", "--preset", "typefaces"], ["'typefaces'", "finch presets"]),
        (
            ["new", "--images", "photos", "--preset", "resnet56-resnet20", "--latency-ms", "1"],
            ["--latency-ms", "resnet56-resnet20", "leave out one"],
        ),
    ],
    ids=lambda value: " ".join(value),
)
def test_what_cannot_be_a_project_is_refused_in_one_line_and_leaves_nothing(
    work: Path, arguments: list[str], words: list[str]
) -> None:
    (work / "full").mkdir()
    (work / "full/notes.txt").touch()
    write_photos(work / "all", per_class=1)
    (work / "all/disc").rename(work / "flat")
    (work / "one").mkdir()
    (work / "all/ring").rename(work / "one/ring")
    before = sorted(work.rglob("*"))
    done = init(*arguments)
    assert done.exit_code == 1
    assert all(word in done.output for word in words), done.output
    assert done.output.count("\n") == 1
    assert sorted(work.rglob("*")) == before


def test_a_preset_keeps_the_images(work: Path) -> None:
    assert init("birds", "--images", "photos", "--preset", "resnet56-resnet20").exit_code == 0
    params = load_params(work / "birds/params.yaml")
    assert params.distill.model == "cifar_resnet20"
    assert (params.prepare.source, params.prepare.image_size) == ("folder", 32)
    assert not params.prepare.download


def measured(model: str, image_size: int, p50_ms: float) -> Student:
    timing = Timing("onnxruntime-fp32", 5, p50_ms, p50_ms, p50_ms, [p50_ms, p50_ms])
    return Student(model, image_size, image_size**2, 20, [timing])


@pytest.fixture
def one_ms_at_64_px(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every network takes 1 ms at 64 px, in proportion to its pixels."""

    def scout(setup, folder, **_):
        assert setup.images.classes == len(CLASSES)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "measured.json").touch()
        return [
            measured(model, size, (size / 64) ** 2 * (1 if "lite" in model else 0.5))
            for model in setup.scout.models
            for size in setup.scout.image_sizes
        ]

    monkeypatch.setattr(first_student, "scout_students", scout)


@pytest.mark.parametrize(
    ("latency_ms", "model", "pretrained", "sizes"),
    [
        ("3", "tf_efficientnet_lite0", "package", (96, 224)),
        ("1", "tf_efficientnet_lite0", "package", (64, 224)),
        ("0.7", "mobilenetv2_050", "none", (64, 224)),  # no pretrained network is that fast
    ],
)
def test_the_student_is_the_largest_within_the_latency(
    work: Path, one_ms_at_64_px: None, latency_ms: str, model: str, pretrained: str, sizes: tuple
) -> None:
    done = init("birds", "--images", "photos", "--latency-ms", latency_ms)
    assert done.exit_code == 0, done.output
    params = load_params(work / "birds/params.yaml")
    student = params.distill
    assert (student.model, student.pretrained) == (model, pretrained)
    assert (student.image_size, params.finetune.image_size) == sizes
    scout = yaml.safe_load((work / "birds/scout.yaml").read_text())
    assert scout["latency_ms"] == float(latency_ms)


def test_a_latency_that_no_student_meets_says_which_one_does(
    work: Path, one_ms_at_64_px: None
) -> None:
    done = init("birds", "--images", "photos", "--latency-ms", "0.1")
    assert done.exit_code == 1
    assert "--latency-ms 0.1" in done.output and "allow 0.5 ms or more" in done.output
    assert names(work / "birds") == {".finch"}  # what was measured
    assert init("birds", "--images", "photos", "--latency-ms", "0.5").exit_code == 0


def test_a_project_is_complete_when_the_first_look_is_interrupted(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise Interrupted(2)

    monkeypatch.setattr(stages.images, "decode", interrupt)
    done = init("birds", "--images", "photos")
    assert done.exit_code == 130
    assert "is complete" in done.output
    assert git(work / "birds", "status", "--porcelain") == ""


def test_without_git_the_remedy_is_named(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(work))
    done = init("birds", "--images", "photos")
    assert done.exit_code == 1
    assert "git: is not installed; on Debian: apt-get install git" in done.output
