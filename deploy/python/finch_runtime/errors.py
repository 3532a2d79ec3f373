"""The exception of the device runtime, and text that a terminal shows as it is."""

from __future__ import annotations

import unicodedata

# Control, format (such as marks that turn the direction of text), surrogate, private and
# unassigned characters, and separators of lines and paragraphs.
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"  # Persian words and many emoji consist of joined characters.


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
        thing = printable(str(self.thing)) or "''"  # a name keeps its blanks
        return f"{thing}: {_one_line(self.problem)}; {_one_line(self.remedy)}"


def printable(text: str) -> str:
    r"""Text on one line, without characters that a terminal would execute or hide.

    Such characters become backslash escapes: ``\x1b``, ``\n``, ``\u202e``. All others stay, in
    any language.
    """
    if text.isprintable():
        return text
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if unicodedata.category(character) in _HIDDEN and character not in _JOINERS:
        return character.encode("unicode_escape").decode("ascii")
    return character


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def last_line(error: BaseException) -> str:
    """Last line of an exception's message, which is the specific one in OpenVINO's messages."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else repr(error)
