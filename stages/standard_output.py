"""Standard output whose errors are not taken for those of a file."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from finch_runtime.output import discard

from pipeline.errors import FinchError


@contextmanager
def checked_output() -> Iterator[None]:
    """Exits with 1 and one line if standard output cannot be written, such as on a full disk.

    For the whole of a process. A reader that has closed the output is not an error.
    """
    before = sys.stdout
    if not isinstance(before, io.TextIOWrapper):  # closed, or replaced by a test
        yield
        return
    output = sys.stdout = _Output(
        before.buffer,
        encoding=before.encoding,
        errors=before.errors,
        line_buffering=before.line_buffering,
        write_through=before.write_through,
    )
    try:
        try:
            yield
        except SystemExit as end:
            if end.code:  # whatever it was has been reported
                raise
        output.flush()
    except BrokenPipeError:
        discard(output)
    except FinchError as error:
        print(f"finch: {error}", file=sys.stderr)
        sys.exit(1)
    finally:
        if output.failed:  # Python flushes it again at exit
            discard(output)


class _Output(io.TextIOWrapper):
    """Standard output, whose errors name it.

    Attributes:
        failed: Something could not be written.
    """

    failed = False

    def write(self, text: str) -> int:
        with self._named_errors():
            return super().write(text)

    def flush(self) -> None:
        with self._named_errors():
            super().flush()

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            self.failed = True
            problem = f"cannot be written: {error.strerror}"
            raise FinchError("standard output", problem, "redirect it elsewhere") from None
