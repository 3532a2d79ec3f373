"""Messages about arguments that no command has."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from stages.app import STAGES, TOOLS, main
from tests.small_project import PROJECT

HOSTILE = "no\x1b[2J\u202e"


@pytest.mark.parametrize(
    "arguments",
    [
        [HOSTILE],
        ["resolve", HOSTILE],
        ["resolve", f"--{HOSTILE}"],
        ["presets", HOSTILE],
        ["presets", f"--{HOSTILE}"],
        ["presets", "show", "kd", HOSTILE],
        ["inspect", "--views", HOSTILE],
    ],
    ids=lambda arguments: " ".join(arguments).replace(HOSTILE, "HOSTILE"),
)
def test_wrong_arguments_are_shown_in_printable_characters(arguments: list[str]) -> None:
    done = CliRunner().invoke(main, arguments, color=True)
    assert done.exit_code == 2
    assert r"no\x1b[2J\u202e" in done.output
    assert not {"\x1b", "\u202e"} & set(done.output)


@pytest.mark.parametrize("arguments", [["presets"], ["presets", "--help"], ["resolve", "--help"]])
def test_help_has_its_lines(arguments: list[str]) -> None:
    assert "\nOptions:\n" in CliRunner().invoke(main, arguments).output


@pytest.mark.parametrize(
    ("arguments", "proposed"),
    [
        (["distil"], "distill"),
        (["eval"], "evaluate or evaluate-file"),
        (["train"], "finetune or distill"),
        (["cache_logit"], "cache-logits"),
        (["presets", "lst"], "list"),
        (["resolve", "--parms", "p.yaml"], "'--params'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_was_probably_meant_is_proposed(arguments: list[str], proposed: str) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert done.output.rstrip().endswith(f"Did you mean {proposed}?")


def test_a_word_like_no_command_lists_them_all() -> None:
    done = CliRunner().invoke(main, ["xyz"])
    assert "Known: resolve, " in done.output


def test_an_option_in_place_of_a_parameter_is_told_about_set() -> None:
    done = CliRunner().invoke(main, ["distill", "--epochs", "2"])
    assert done.exit_code == 2
    assert "--set KEY=VALUE" in done.output


def test_the_list_of_commands_has_one_whole_line_for_each_and_the_exit_codes() -> None:
    lines = CliRunner().invoke(main, ["--help"]).output.splitlines()
    assert max(map(len, lines)) < 80
    start = lines.index("Stages of the pipeline, in order (`dvc repro` runs all of them):")
    commands = [line for line in lines[start:] if line.startswith("  ") and "codes" not in line]
    listed = [line.split()[0] for line in commands]
    assert listed[: len(STAGES) + len(TOOLS)] == [n.replace("_", "-") for n in (*STAGES, *TOOLS)]
    assert not any("..." in line for line in lines[start:])
    assert any("Exit codes: 0 success; 1 error" in line for line in lines)


def test_no_help_imports_a_library_that_takes_long_or_prints_a_format_character() -> None:
    program = (
        "import sys; from click.testing import CliRunner; from stages.app import *\n"
        "names = [name.replace('_', '-') for name in (*STAGES, *TOOLS)]\n"
        "for line in ([], *([name] for name in names)):\n"
        "    done = CliRunner().invoke(main, [*line, '--help'])\n"
        "    assert done.exit_code == 0 and '\\b' not in done.output, line\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    run = [sys.executable, "-c", program]
    done = subprocess.run(run, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    slow = {"torch", "timm", "numpy", "scipy", "pydantic", "onnx", "onnxruntime", "openvino"}
    slow |= {"nncf", "dvc", "PIL", "yaml", "rich", "matplotlib", "psutil"}
    assert not slow & set(done.stdout.split())
