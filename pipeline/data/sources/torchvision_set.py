"""Published sets that torchvision can fetch: it downloads, unpacks and checks; the readers read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.errors import DataError


def open_set(name: str, root: Path, download: bool, **options: Any) -> Any:
    """Opens a set of torchvision that lies below ``root``, or fetches it first.

    Args:
        name: The class in ``torchvision.datasets``, such as ``Food101``.
        root: The folder that holds the set's own folder.
        download: Whether to fetch the set when it is not there.
        options: Further options of the class, such as ``split``.

    Returns:
        The object of that class.

    Raises:
        DataError: The set is not there or damaged, or cannot be fetched; the message keeps
            torchvision's reason.
    """
    # Here, because it imports torch, which the other sources do without.
    import torchvision.datasets

    kind = getattr(torchvision.datasets, name)
    try:
        return kind(str(root), download=False, **options)
    except Exception as error:  # torchvision lets out whatever a damaged file causes
        reason = _said_by(error)
    if not download:
        raise DataError(
            root,
            f"{name} cannot be read from it ({reason})",
            f"set prepare.download to true, or put the published files of {name} there",
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
        return kind(str(root), download=True, **options)
    except Exception as error:  # as above, and what the network causes
        raise DataError(
            root,
            f"{name} could not be downloaded ({_said_by(error)})",
            f"remove what is there of it and try again, or put the published files of {name} there",
        ) from None


def _said_by(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
