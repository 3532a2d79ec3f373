"""The order of the classes along the wavelet transform's axis."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage

from pipeline.params import ClassOrder


def order_classes(
    choice: ClassOrder, labels: NDArray[np.int64], teacher_logits: NDArray[np.floating]
) -> list[int]:
    """The class that stands at each place of the axis.

    ``similarity`` is the optimal leaf ordering (Bar-Joseph et al. 2001, in scipy) of an
    average-linkage tree over the correlation distances between the teacher's mean logits of the
    training images of each class: classes that the teacher finds alike come to stand together.

    Args:
        choice: Kind of order and seed.
        labels: int64 [n], labels of the training images; every class occurs.
        teacher_logits: [K, n, classes], the teacher's logits on K views of them.
    """
    num_classes = teacher_logits.shape[-1]
    if choice.kind == "index" or num_classes < 3:
        return list(range(num_classes))
    if choice.kind == "random":
        return [int(c) for c in np.random.default_rng(choice.seed).permutation(num_classes)]
    views_mean = np.mean(teacher_logits, axis=0, dtype=np.float64)
    means = np.zeros((num_classes, num_classes))
    np.add.at(means, labels, views_mean)
    means /= np.bincount(labels, minlength=num_classes)[:, None]
    tree = linkage(means, method="average", metric="correlation", optimal_ordering=True)
    return [int(leaf) for leaf in leaves_list(tree)]
