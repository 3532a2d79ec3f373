"""The order of the classes along the axis of the wavelet transform."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import pdist

from pipeline.errors import ParameterError, TrainingError
from pipeline.files import hash_value
from pipeline.params import ClassOrder

_BLOCK = 4096  # images whose logits are in memory at once


def order_classes(
    options: ClassOrder,
    labels: NDArray[np.int64],
    teacher_logits: NDArray[np.floating] | None,
    *,
    classes: Sequence[str],
    head: Callable[[], NDArray[np.floating]],
) -> list[int]:
    """The class at each position of the axis.

    ``similarity`` is the optimal leaf ordering of an average-linkage tree (Bar-Joseph et al. 2001,
    from SciPy), which places similar classes side by side. The distance of two classes is one minus
    the correlation of the teacher's mean logits on their training images, or one minus the cosine
    similarity of their centered weights in the teacher's classifier layer.

    Args:
        options: Kind of order and its options.
        labels: int64 [n], labels of the training images.
        teacher_logits: [views, n, classes], or None if they are not cached.
        classes: Class names by label.
        head: Returns the weights [classes, features] of the teacher's classifier layer; called
            only if they are needed.

    Raises:
        ParameterError: The file of ``kind: file`` is unreadable or does not list every class once,
            or logits are needed but not cached.
        TrainingError: Logits or weights are not finite or have a wrong shape, or a class has no
            images.
    """
    if options.kind == "file":
        return _read_order(Path(options.file or ""), classes)
    if options.kind == "index" or len(classes) < 3:
        return list(range(len(classes)))
    if options.kind == "random":
        return list(map(int, np.random.default_rng(options.seed).permutation(len(classes))))
    if options.similarity == "weights":
        features = _head_weights(head(), len(classes))
        features = features - features.mean(axis=0)  # softmax does not depend on a common offset
    elif teacher_logits is None:
        problem = "needs cached logits, but cache_logits.views is 0"
        raise ParameterError(
            "distill.class_order.similarity = logits", problem, "set it to weights"
        )
    else:
        features = _mean_logits(labels, teacher_logits, classes)
        features = features - features.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        distances = pdist(features, "cosine")
    # Constant features have no cosine similarity; treat the class as uncorrelated.
    tree = linkage(np.nan_to_num(distances, nan=1.0), method="average", optimal_ordering=True)
    return list(map(int, leaves_list(tree)))


def describe_order(
    options: ClassOrder, order: Sequence[int], classes: Sequence[str]
) -> dict[str, Any]:
    """The order as JSON values: its options, the class names in order, and their SHA-256."""
    names = [classes[c] for c in order]
    return {**options.model_dump(), "sha256": hash_value(names), "classes": names}


def _mean_logits(
    labels: NDArray[np.int64], teacher_logits: NDArray[np.floating], classes: Sequence[str]
) -> NDArray[np.float64]:
    """Mean logits [classes, classes] over the views and images of each class."""
    thing, remedy = "the teacher's logits", "run cache_logits again"
    expected, found = (len(labels), len(classes)), teacher_logits.shape[1:]
    if found != expected:
        problem = f"have (images, classes) {found}, training has {expected}"
        raise TrainingError(thing, problem, remedy)
    counts = np.bincount(labels, minlength=len(classes))
    if not counts.all():
        raise TrainingError(
            f"class {classes[int(np.argmin(counts))]!r}",
            "has no training images to compute its similarity from",
            "use another distill.class_order.kind, or similarity: weights",
        )
    sums = np.zeros((len(classes), len(classes)))
    for view in teacher_logits:
        for start in range(0, len(labels), _BLOCK):
            block = slice(start, start + _BLOCK)
            np.add.at(sums, labels[block], view[block].astype(np.float64))
    is_finite = np.isfinite(sums).all(axis=1)
    if not is_finite.all():
        name = classes[int(np.argmin(is_finite))]
        raise TrainingError(thing, f"of class {name!r} are not finite", remedy)
    means: NDArray[np.float64] = sums / (len(teacher_logits) * counts[:, None])
    return means


def _head_weights(weights: NDArray[np.floating], num_classes: int) -> NDArray[np.float64]:
    thing = "the teacher's classifier layer"
    if len(weights) != num_classes:
        problem = f"has weights of {len(weights)} classes, training has {num_classes}"
        raise TrainingError(thing, problem, "fine-tune the teacher on this data")
    if not np.isfinite(weights).all():
        raise TrainingError(thing, "has weights that are not finite", "fine-tune again")
    return weights.astype(np.float64)


def _read_order(path: Path, classes: Sequence[str]) -> list[int]:
    remedy = "list every class of the data once, one per line"
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise ParameterError(path, problem, "check distill.class_order.file") from None
    except UnicodeDecodeError as error:
        raise ParameterError(path, f"is not UTF-8 ({error.reason})", remedy) from None
    index = {name: c for c, name in enumerate(classes)}
    line_of: dict[str, int] = {}
    for number, name in enumerate(lines, start=1):
        if not name.strip():
            continue
        if name not in index:
            near = ", ".join(map(repr, difflib.get_close_matches(name, classes, cutoff=0.5)))
            hint = f"did you mean {near}?" if near else remedy
            raise ParameterError(f"{path}, line {number}", f"{name!r} is not a class", hint)
        if name in line_of:
            problem = f"{name!r} repeats line {line_of[name]}"
            raise ParameterError(f"{path}, line {number}", problem, remedy)
        line_of[name] = number
    missing = [name for name in classes if name not in line_of]
    if missing:
        shown = ", ".join(map(repr, missing[:5])) + (", ..." if len(missing) > 5 else "")
        problem = f"omits {len(missing)} of {len(classes)} classes: {shown}"
        raise ParameterError(path, problem, remedy)
    return [index[name] for name in line_of]
