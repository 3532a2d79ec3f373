"""Messages about arguments that no command has."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from stages.app import main

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
