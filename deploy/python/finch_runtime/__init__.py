"""Finch's device runtime: classifies images with an unpacked bundle, and benchmarks models.

Requires NumPy, Pillow, and ONNX Runtime or OpenVINO; uses neither PyTorch nor the network.

In a bundle, only files that its manifest lists run. This file makes sure of that before it lets
anything else be imported; otherwise it raises ImportError or, under ``python -m``, exits with 2.
"""

# pathlib, like most of Python's library, must not be imported before sys.path is in order.
# ruff: noqa: PTH100, PTH108, PTH118, PTH119, PTH120

import os
import sys

_PACKAGE = os.path.dirname(os.path.abspath(__file__))
_BUNDLE = os.path.dirname(_PACKAGE)


def _import_only_from_sources() -> None:
    """Ignores bytecode: its size and time may be those of a file that an update has replaced."""
    # Python searches the bundle's folder first. Searched last, no file in it replaces a module.
    home = os.path.realpath(_BUNDLE)
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != home] + [_BUNDLE]
    from contextlib import suppress
    from importlib.machinery import FileFinder, SourceFileLoader

    class Loader(SourceFileLoader):
        def get_code(self, fullname: str) -> object:  # type: ignore[override]
            return self.source_to_code(self.get_data(self.path), self.path)

    __path__[:] = [_PACKAGE]
    for folder, _, files in os.walk(_PACKAGE):
        sys.path_importer_cache[folder] = FileFinder(folder, (Loader, [".py"]))
        if os.path.basename(folder) == "__pycache__":
            # Python has just written that of this file, and would run it after an update.
            for name in (each for each in files if each.endswith(".pyc")):
                with suppress(OSError):  # read-only, or another process was faster
                    os.unlink(os.path.join(folder, name))


def _find_problem() -> str:
    """Why the code must not run, as one line; empty if it may."""
    try:
        from finch_runtime.integrity import find_problem

        return find_problem(_BUNDLE)
    except Exception as error:  # the checks themselves are damaged
        return f"{_PACKAGE}: is damaged: {type(error).__name__}; unpack the bundle again"


def _refuse(problem: str) -> None:
    line = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in problem)
    if sys.argv[:1] != ["-m"]:  # what Python sets while it looks for a module to run
        raise ImportError(line)
    print(f"finch_runtime: {line}", file=sys.stderr)
    sys.exit(2)


if os.path.lexists(os.path.join(_BUNDLE, "manifest.json")):
    _import_only_from_sources()
    _problem = _find_problem()
    if _problem:
        _refuse(_problem)
is_checked = True
"""Whether this file has run; ``__main__`` asks, since an empty file runs as well."""
