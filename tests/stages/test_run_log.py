"""Log files, --quiet and --verbose, and progress where the output is no terminal."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stages import progress_lines, run_log
from stages.app import main
from stages.console import open_log, track
from stages.progress_lines import progress_line
from tests.small_project import PROJECT


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".finch/logs"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_the_file_has_the_traceback_of_an_error_that_the_terminal_shows_in_one_line(
    logs: Path,
) -> None:
    done = call("verify")
    assert done.exit_code == 1
    assert done.output.count("\n") == 1
    (file,) = logs.iterdir()
    text = file.read_text()
    assert "finch-edge" in text and "Traceback" in text
    assert done.output.strip().removeprefix("finch verify: ") in text


def test_the_oldest_files_of_a_stage_are_removed(
    logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "_KEPT", 2)
    logs.mkdir(parents=True)
    for name in (
        "verify-20200101-000000-1",
        "verify-20210101-000000-1",
        "export-20200101-000000-1",
    ):
        (logs / f"{name}.log").touch()
    call("verify")
    names = sorted(file.name for file in logs.iterdir())
    assert len(names) == 3
    assert names[0] == "export-20200101-000000-1.log"
    assert names[1] == "verify-20210101-000000-1.log"


def test_a_folder_that_cannot_be_written_does_not_change_the_result(logs: Path) -> None:
    logs.parent.mkdir()
    logs.write_text("a file")
    assert "dataset.json: is missing" in call("verify").output


def test_a_command_that_only_prints_keeps_no_log(logs: Path) -> None:
    assert call("params").exit_code == 0
    assert not logs.exists()
    assert "No such option" in call("params", "--quiet").output


def test_quiet_and_verbose_choose_what_the_terminal_shows(logs: Path) -> None:
    assert "finch-edge" in call("verify", "--verbose").output
    assert "finch-edge" not in call("verify").output
    texts = []
    for level in (logging.DEBUG, logging.INFO, logging.WARNING):
        handler = logging.Handler()
        handler.emit = lambda record: texts.append(record.getMessage())  # type: ignore[method-assign]
        log = open_log("verify", level=level, file=handler)
        (terminal,) = (h for h in logging.getLogger("finch").handlers if h is not handler)
        assert terminal.level == level
        log.debug("every file has it")
    assert texts == ["every file has it"] * 3


@pytest.mark.parametrize("name", ["finch.verify", "pipeline.quantize.candidates"])
def test_a_handler_that_a_library_gives_the_root_logger_repeats_nothing(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    library = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(library)
    try:
        open_log("verify")
        logging.getLogger(name).debug("for the file")
        logging.getLogger(name).info("once")
    finally:
        logging.getLogger().removeHandler(library)
    assert capsys.readouterr().err == "[verify] once\n"


def test_progress_is_logged_while_an_item_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_lines, "EVERY_S", 0.05)
    for level, is_shown in ((logging.INFO, True), (logging.WARNING, False)):
        open_log("evaluate", level=level)
        tracked = track(["a", "b"], "classifying")
        assert next(tracked) == "a"
        time.sleep(0.2)
        assert list(tracked) == ["b"]
        assert ("[evaluate] classifying: 0 of 2 after " in capsys.readouterr().err) is is_shown


def test_only_the_main_process_of_distributed_training_shows_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_lines, "EVERY_S", 0.01)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    open_log("distill")
    for _ in track(["a"], "training"):
        time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_fast_work_logs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    open_log("evaluate")
    assert list(track(range(1000), "classifying")) == list(range(1000))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("done", "total", "elapsed_s", "line"),
    [
        (0, 8, 30.2, "work: 0 of 8 after 30 s"),
        (2, 8, 60, "work: 2 of 8 after 60 s, about 3 min left"),
        (3, None, 150, "work: 3 after 2 min"),
        (1, 101, 120, "work: 1 of 101 after 2 min, about 3.3 h left"),
    ],
)
def test_the_line_has_what_is_known_of_the_time_left(
    done: int, total: int | None, elapsed_s: float, line: str
) -> None:
    assert progress_line("work", done, total, elapsed_s) == line
