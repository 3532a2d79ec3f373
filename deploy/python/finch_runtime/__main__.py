"""``python -m finch_runtime`` in a bundle's folder, ``python -I FOLDER/finch_runtime`` anywhere."""

# pathlib must not be imported before sys.path is in order.
# ruff: noqa: PTH100, PTH120

import sys


def _start() -> int:
    if not __package__:  # the folder was run, and Python searches it instead of its parent
        import os

        package = os.path.dirname(os.path.abspath(__file__))
        sys.path[0] = os.path.dirname(package)
    try:
        import finch_runtime

        if not getattr(finch_runtime, "is_checked", False):
            raise ImportError(f"{finch_runtime.__file__}: is damaged; unpack the bundle again")
        from finch_runtime.cli import main
    except ModuleNotFoundError as error:
        problem = f"{error.name}: is not installed; pip install -r requirements.txt"
    except ImportError as error:
        problem = str(error)
    else:
        return main()
    print(f"finch_runtime: {problem}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(_start())
