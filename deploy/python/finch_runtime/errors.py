"""The exception of the device runtime."""

from __future__ import annotations


class RuntimeProblem(Exception):
    """An error that the user can fix; shown as one line without a traceback.

    Args:
        thing: Subject of the message: a file, an option, a package.
        problem: What is wrong with it.
        remedy: How to fix it.
    """

    def __init__(self, thing: object, problem: str, remedy: str) -> None:
        super().__init__(thing, problem, remedy)  # so that it can be pickled
        self.thing = thing
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return " ".join(f"{self.thing}: {self.problem}; {self.remedy}".split())


def last_line(error: BaseException) -> str:
    """Last line of an exception's message, which is the specific one in OpenVINO's messages."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else repr(error)
