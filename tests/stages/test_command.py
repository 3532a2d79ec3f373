"""Messages and exit codes of stages that are called the wrong way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from stages.app import STAGES, TOOLS
from tests.small_project import PROJECT, set_param
from tests.stage_process import StageProcesses

BIN = Path(sys.executable).parent


def call(stage: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return StageProcesses().run(folder, stage, *arguments)


def assert_one_clear_line(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("[")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("finch ")
    for part in parts:
        assert part in lines[0]


# Groups of commands, and commands that need no parameters, have their own tests.
OTHERS = {"presets", "completion", "doctor", "predict", "init", "code"}


@pytest.mark.parametrize("stage", [name for name in (*STAGES, *TOOLS) if name not in OTHERS])
def test_help_lists_inputs_outputs_and_options(stage: str) -> None:
    finch = subprocess.run(
        [BIN / "finch", stage.replace("_", "-"), "--help"], capture_output=True, text=True
    )
    assert finch.returncode == 0, finch.stderr
    for part in ("Reads:", "Writes:", "--params", "--set", "--debug"):
        assert part in finch.stdout


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("distill.figkd.wavlet=haar", ("distill.figkd.wavelet?",)),
        ("distill.epochs=many", ("distill.epochs", "'many'", "integer")),
        ("distill.figkd.wavelet=harr", ("harr", "haar")),
        ("prepare.fractions.train=0.9", ("prepare.fractions", "1.3")),
    ],
)
def test_impossible_parameters_stop_before_any_work(
    project: Path, override: str, parts: Sequence[str]
) -> None:
    done = call("prepare", "--set", override, folder=project)
    assert_one_clear_line(done, *parts)
    assert not (project / "data").exists()


def test_level_deeper_than_the_classes_allow(project: Path) -> None:
    for stage in ("prepare", "finetune", "cache_logits"):
        assert call(stage, folder=project).returncode == 0
    done = call("distill", "--set", "distill.figkd.level=3", folder=project)
    assert_one_clear_line(done, "level", "3", "4 classes", "2")
    assert not (project / "models/student").exists()

    set_param(project, "finetune.epochs", 1)
    assert call("finetune", folder=project).returncode == 0
    done = call("distill", folder=project)
    assert_one_clear_line(done, "was made from models/teacher", "finch cache-logits")

    logits = project / "data/teacher_logits/logits.npy"
    logits.write_bytes(logits.read_bytes()[:-40])
    assert call("cache_logits", folder=project).returncode == 0
    logits.write_bytes(logits.read_bytes()[:-40])
    done = call("distill", folder=project)
    assert_one_clear_line(done, "logits.npy", "truncated", "finch cache-logits")


def test_missing_input_names_the_stage_to_run(project: Path) -> None:
    done = call("finetune", folder=project)
    assert_one_clear_line(done, "dataset.json", "is missing", "finch prepare")
    assert not (project / "models").exists()


def test_a_class_with_fewer_images_than_splits(project: Path, tmp_path: Path) -> None:
    for photo in sorted((tmp_path / "photos/ring").iterdir())[2:]:
        photo.unlink()
    done = call("prepare", folder=project)
    assert_one_clear_line(done, "'ring'", "2 images", "3 splits")


def test_debug_shows_the_traceback(project: Path) -> None:
    done = call("finetune", "--debug", folder=project)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("stage", ["compare", "scout"])
def test_a_tool_with_its_own_parameter_file_refuses_it_in_one_line(
    project: Path, stage: str
) -> None:
    assert_one_clear_line(call(stage, folder=project), f"{stage}.yaml", "cannot be read")
    own = ["--config", str(PROJECT / f"{stage}.yaml")]
    done = call(stage, *own, "--set", f"{stage}.rounds=many", folder=project)
    assert_one_clear_line(done, f"{stage}.yaml", "rounds")
    assert not (project / ".finch").exists() or not (project / ".finch" / stage).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_training_fails_and_leaves_nothing(
    project: Path, number: signal.Signals
) -> None:
    assert call("prepare", folder=project).returncode == 0
    line = [sys.executable, "-m", "stages.finetune", "--set", "finetune.epochs=10000"]
    process = subprocess.Popen(line, cwd=project, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "epoch 1/10000" in process.stderr.readline()

    busy = call("finetune", folder=project)
    assert_one_clear_line(busy, "already running")

    process.send_signal(number)
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number
    assert "Traceback" not in rest
    assert not (project / "models").exists()


def test_the_views_of_two_processes_are_the_same_pixels(project: Path) -> None:
    assert call("prepare", folder=project).returncode == 0
    program = (
        "import hashlib, numpy as np, torch; from pathlib import Path\n"
        "from pipeline.data.prepared import open_prepared; from pipeline.params import Views\n"
        "from pipeline.views import make_views\n"
        "images = open_prepared(Path('data/prepared')).split('train').images[:9]\n"
        "views = make_views(images, np.arange(9), 3, Views(), torch.device('cpu'))\n"
        "print(hashlib.sha256(views.numpy().tobytes()).hexdigest())"
    )
    env = os.environ | {"PYTHONHASHSEED": "1"}
    run = [sys.executable, "-c", program]
    first, second = (
        subprocess.run(run, cwd=project, env=e, capture_output=True, text=True, check=True).stdout
        for e in (os.environ, env)
    )
    assert len(first) == 65
    assert first == second


def test_nothing_reaches_the_terminal_that_it_would_execute_or_hide(
    project: Path, tmp_path: Path
) -> None:
    name = "no\x1b[2J\u202efile\r.yaml"
    done = call("prepare", "--params", name, folder=project)
    assert_one_clear_line(done, r"no\x1b[2J\u202efile", "cannot be read")
    first = next(path for path in (tmp_path / "photos").iterdir() if path.is_dir())
    first.rename(first.with_name("red\x1b[31m\u202e"))
    done = call("prepare", folder=project)
    assert done.returncode == 0, done.stderr
    shown = done.stderr + call("inspect", folder=project).stdout
    assert not {"\x1b", "\u202e"} & set(shown)
    assert r"red\x1b[31m\u202e" in shown


def test_a_disk_error_is_one_line_that_names_the_folder(project: Path) -> None:
    line = [sys.executable, "-m", "stages.resolve"]
    limited = ["bash", "-c", 'ulimit -f 1; exec "$@"', "-", *line]
    done = subprocess.run(limited, cwd=project, capture_output=True, text=True)
    assert_one_clear_line(done, "reports: a file is larger than")
    assert not list((project / "reports").iterdir())
