from __future__ import annotations

import logging
import sys
import threading

import pytest

from pipeline.quiet import quiet


def test_what_is_printed_goes_to_the_log(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("quiet")
    with caplog.at_level(logging.DEBUG), quiet(log):
        print("half way")
        print("something is odd", file=sys.stderr)
    print("after")
    assert capsys.readouterr() == ("after\n", "")
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [
        (logging.DEBUG, "half way\nsomething is odd")
    ]


def test_other_threads_still_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet(logging.getLogger("quiet")):
        bar = threading.Thread(target=lambda: print("42 %", file=sys.stderr))
        bar.start()
        bar.join()
    assert capsys.readouterr().err == "42 %\n"


def test_the_log_gets_it_when_the_block_fails(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(RuntimeError),
        quiet(logging.getLogger("quiet")),
    ):
        print("last words")
        raise RuntimeError
    assert "last words" in caplog.text
