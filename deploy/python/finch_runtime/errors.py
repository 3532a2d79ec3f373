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
        self.thing = thing
        self.problem = problem
        self.remedy = remedy
        super().__init__(" ".join(f"{thing}: {problem}; {remedy}".split()))


def last_line(error: BaseException) -> str:
    """Last line of an exception's message, which is the specific one in OpenVINO's messages."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else repr(error)
