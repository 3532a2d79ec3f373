import pytest

from pipeline.params import Recipe
from pipeline.training.history import Epoch, has_settled, kept_epoch


def history(*accuracies):
    return [Epoch(number, 1.0, {}, value) for number, value in enumerate(accuracies, start=1)]


def recipe(**changes):
    return Recipe(epochs=9, batch_size=4, lr=0.1, weight_decay=0.0, **changes)


@pytest.mark.parametrize(("keep", "epoch"), [("best", 2), ("last", 4)])
def test_the_kept_epoch_is_the_first_of_the_best_or_the_last(keep, epoch):
    assert kept_epoch(history(0.1, 0.5, 0.5, 0.3), recipe(keep=keep)).epoch == epoch


@pytest.mark.parametrize(
    ("accuracies", "patience", "settled"),
    [
        ((), 1, False),
        ((0.5,), 1, False),
        ((0.5, 0.4), 1, True),
        ((0.5, 0.4), 2, False),
        ((0.5, 0.4, 0.5), 2, True),  # as good is not better
        ((0.5, 0.4, 0.6), 2, False),
        ((0.5, 0.4, 0.3, 0.2), 0, False),
    ],
)
@pytest.mark.parametrize("keep", ["best", "last"])
def test_patience_counts_the_epochs_since_the_best(accuracies, patience, settled, keep):
    assert has_settled(history(*accuracies), recipe(patience=patience, keep=keep)) is settled
