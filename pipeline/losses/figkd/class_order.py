"""The order of the classes along the wavelet transform's axis."""

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

_IMAGES_AT_ONCE = 4096
_NAMES_SHOWN = 5


def order_classes(
    choice: ClassOrder,
    labels: NDArray[np.int64],
    teacher_logits: NDArray[np.floating] | None,
    *,
    classes: Sequence[str],
    head: Callable[[], NDArray[np.floating]],
) -> list[int]:
    """The class that stands at each place of the axis.

    ``similarity`` is the optimal leaf ordering (Bar-Joseph et al. 2001, in scipy) of an
    average-linkage tree: classes that the teacher finds alike come to stand together. How unlike
    two are is one minus the correlation of the teacher's mean logits of their training images, or
    one minus the cosine of their weights in its classifier layer, less the mean weights (which a
    softmax does not see).

    Args:
        choice: Kind of order, and what it is made from.
        labels: int64 [n], labels of the training images.
        teacher_logits: [K, n, classes], the teacher's logits on K views of them; None where they
            are not cached.
        classes: Class names; a label is an index into them.
        head: Gives the weights [classes, features] of the teacher's classifier layer; called only
            if they are needed.

    Raises:
        ParameterError: The file of ``kind: file`` cannot be read, or is no order of the classes;
            or the order is to be made from logits that are not cached.
        TrainingError: What the teacher says is of other classes or images, or not finite.
    """
    if choice.kind == "file":
        assert choice.file is not None  # params
        return _read_order(Path(choice.file), classes)
    if choice.kind == "index" or len(classes) < 3:
        return list(range(len(classes)))
    if choice.kind == "random":
        return [int(c) for c in np.random.default_rng(choice.seed).permutation(len(classes))]
    if choice.similarity == "weights":
        return _order_by_similarity(_centred_weights(head(), len(classes)))
    if teacher_logits is None:
        raise ParameterError(
            "distill.class_order.similarity = logits",
            "needs cached logits, and there are none with cache_logits.views = 0",
            "set it to weights",
        )
    means = _mean_logits(labels, teacher_logits, classes)
    return _order_by_similarity(means - means.mean(axis=1, keepdims=True))


def describe_order(
    choice: ClassOrder, order: Sequence[int], classes: Sequence[str]
) -> dict[str, Any]:
    """The order as an artefact: the choice, the class names in order, and their SHA-256."""
    names = [classes[c] for c in order]
    return {**choice.model_dump(), "sha256": hash_value(names), "classes": names}


def _order_by_similarity(profiles: NDArray[np.float64]) -> list[int]:
    # A class with nothing to compare is as unlike the others as one that does not correlate.
    with np.errstate(invalid="ignore", divide="ignore"):
        distances = np.nan_to_num(pdist(profiles, "cosine"), nan=1.0)
    tree = linkage(distances, method="average", optimal_ordering=True)
    return [int(leaf) for leaf in leaves_list(tree)]


def _mean_logits(
    labels: NDArray[np.int64], teacher_logits: NDArray[np.floating], classes: Sequence[str]
) -> NDArray[np.float64]:
    """The teacher's mean logits [classes, classes] over images and views of each class."""
    expected = (len(labels), len(classes))
    if teacher_logits.shape[1:] != expected:
        raise TrainingError(
            "the teacher's logits",
            f"are for (images, classes) {teacher_logits.shape[1:]}, training has {expected}",
            "run cache_logits again",
        )
    counts = np.bincount(labels, minlength=len(classes))
    if not counts.all():
        name = classes[int(np.argmin(counts))]
        raise TrainingError(
            f"class {name!r}",
            "has no training images by which to tell what it is like",
            "take another distill.class_order.kind, or `similarity: weights`",
        )
    sums = np.zeros((len(classes), len(classes)))
    for view in teacher_logits:
        for start in range(0, len(labels), _IMAGES_AT_ONCE):
            part = slice(start, start + _IMAGES_AT_ONCE)
            np.add.at(sums, labels[part], view[part].astype(np.float64))
    if not np.isfinite(sums).all():
        name = classes[int(np.argmin(np.isfinite(sums).all(axis=1)))]
        raise TrainingError(
            "the teacher's logits", f"of class {name!r} are not finite", "run cache_logits again"
        )
    means: NDArray[np.float64] = sums / (len(teacher_logits) * counts[:, None])
    return means


def _centred_weights(weights: NDArray[np.floating], num_classes: int) -> NDArray[np.float64]:
    if len(weights) != num_classes:
        raise TrainingError(
            "the teacher's classifier layer",
            f"has weights of {len(weights)} classes, training has {num_classes}",
            "fine-tune the teacher on this data",
        )
    if not np.isfinite(weights).all():
        raise TrainingError(
            "the teacher's classifier layer", "has weights that are not finite", "fine-tune again"
        )
    exact = weights.astype(np.float64)
    centered: NDArray[np.float64] = exact - exact.mean(axis=0)
    return centered


def _read_order(path: Path, classes: Sequence[str]) -> list[int]:
    remedy = "give every class of the data one line"
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise ParameterError(
            path, f"cannot be read ({error.strerror})", "see distill.class_order.file"
        ) from None
    except UnicodeDecodeError as error:
        raise ParameterError(path, f"is not UTF-8 ({error.reason})", remedy) from None
    index = {name: c for c, name in enumerate(classes)}
    line_of: dict[str, int] = {}
    for number, name in enumerate(lines, start=1):
        if not name.strip():
            continue
        if name not in index:
            near = difflib.get_close_matches(name, classes, n=3, cutoff=0.5)
            hint = f"close names: {', '.join(map(repr, near))}" if near else remedy
            raise ParameterError(f"{path}, line {number}", f"{name!r} is no class", hint)
        if name in line_of:
            raise ParameterError(
                f"{path}, line {number}", f"{name!r} stands in line {line_of[name]} already", remedy
            )
        line_of[name] = number
    missing = [name for name in classes if name not in line_of]
    if missing:
        shown = ", ".join(map(repr, missing[:_NAMES_SHOWN]))
        more = f" and {len(missing) - _NAMES_SHOWN} more" if len(missing) > _NAMES_SHOWN else ""
        raise ParameterError(
            path, f"leaves out {len(missing)} of {len(classes)} classes: {shown}{more}", remedy
        )
    return [index[name] for name in line_of]
