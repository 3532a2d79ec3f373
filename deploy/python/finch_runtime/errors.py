"""The one error of the runtime: what it is about, what is wrong, what to do."""

from __future__ import annotations


class RuntimeProblem(Exception):
    """Anything the person at the device can cause or mend; shown as one line.

    Args:
        thing: What the message is about: a file, an option, a package.
        problem: What is wrong with it.
        remedy: What to do about it.
    """

    def __init__(self, thing: object, problem: str, remedy: str) -> None:
        self.thing = thing
        self.problem = problem
        self.remedy = remedy
        super().__init__(" ".join(f"{thing}: {problem}; {remedy}".split()))


def said_by(error: BaseException) -> str:
    """The last line of another library's error: OpenVINO's messages come to the point there."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else repr(error)
