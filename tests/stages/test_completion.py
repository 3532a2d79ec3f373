"""Completion on Tab."""

from __future__ import annotations

import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner

from stages.app import main


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_asks_finch(shell: str) -> None:
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0, done.output
    assert f"_FINCH_COMPLETE={shell}_complete" in done.output


def test_commands_and_options_are_completed() -> None:
    complete = BashComplete(main, {}, "finch", "_FINCH_COMPLETE").get_completions
    assert [each.value for each in complete([], "eval")] == ["evaluate", "evaluate-file"]
    assert [each.value for each in complete(["presets"], "sh")] == ["show"]
    assert "--set" in [each.value for each in complete(["distill"], "--")]
