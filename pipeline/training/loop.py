"""The training loop."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.data.prepared import Split
from pipeline.errors import TrainingError
from pipeline.losses import Objective
from pipeline.models.classifier import Classifier
from pipeline.params import Recipe, Views
from pipeline.progress import Track, silent
from pipeline.training.optimisation import build_average, build_optimizer, rate_factor
from pipeline.views import make_views, to_unit_range

_CALM_DOWN = "lower the learning rate or the weight of the distillation"
_IMAGES_SHOWN = 8


@dataclass(frozen=True)
class TeacherAnswers:
    """The teacher's logits on the views that training will show.

    Attributes:
        logits: [K, n, classes], on view k of image i.
        pixels: uint8 [K, n, size, size, 3], the views themselves where they have been packed;
            training makes them again where they have not.
    """

    logits: NDArray[np.floating]
    pixels: NDArray[np.uint8] | None = None

    @property
    def views(self) -> int:
        """K, the number of views per image."""
        return len(self.logits)


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to."""

    epoch: int
    loss: float
    parts: dict[str, float]
    val_accuracy: float


@dataclass(frozen=True)
class Trained:
    """The kept weights, and the way there.

    Attributes:
        model: With the kept weights, in evaluation mode.
        best: The epoch they are of: the best by validation accuracy (the earlier on a tie), or
            the last (see ``Recipe.keep``).
        history: All epochs.
    """

    model: Classifier
    best: Epoch
    history: list[Epoch] = field(default_factory=list)


def train(
    model: Classifier,
    objective: Objective,
    recipe: Recipe,
    train_split: Split,
    val_split: Split,
    views: Views,
    *,
    device: torch.device,
    seed: int,
    teacher: TeacherAnswers | None = None,
    places: NDArray[np.int64] | None = None,
    track: Track = silent,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Trained:
    """Trains a classifier; the same call gives the same weights on one device.

    Args:
        model: Starts from the weights it has; trained in place.
        objective: What a step minimises.
        recipe: Optimiser, schedule, epochs.
        train_split: Images and labels to learn from.
        val_split: Images and labels to choose the best epoch by.
        views: How images are augmented.
        device: Where to train.
        seed: Of the batches' order.
        teacher: The teacher's logits on the views; epoch e shows view e modulo K. Without it
            every epoch shows a new view.
        places: Images of ``train_split`` to learn from, int64; all of them when None.
        track: Shows progress.
        on_epoch: Called after each epoch.

    Raises:
        TrainingError: The loss is not finite, or teacher and student do not fit together.
    """
    _check_teacher(model, objective, train_split, teacher)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective.to(device)
    optimizer = build_optimizer(model, recipe)
    average = build_average(model, recipe.ema_decay)
    if places is None:
        places = np.arange(len(train_split))
    steps_per_epoch = -(-len(places) // recipe.batch_size)
    total_steps = recipe.epochs * steps_per_epoch
    factor = rate_factor(recipe, total_steps)
    history: list[Epoch] = []
    best_state: dict[str, Tensor] = {}
    best: Epoch | None = None
    steps = iter(track(range(total_steps), "training", total_steps))
    for epoch in range(recipe.epochs):
        model.train()
        view = epoch % teacher.views if teacher else epoch
        sums: dict[str, float] = {}
        for batch in _batches(places, steps_per_epoch, seed, epoch):
            step = next(steps)
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr * factor(step)
            if teacher is not None and teacher.pixels is not None:
                pixels = to_unit_range(teacher.pixels[view, batch], device)
            else:
                pixels = make_views(train_split.images[batch], batch, view, views, device)
            labels = torch.from_numpy(train_split.labels[batch]).to(device)
            answers = _answers(teacher, view, batch, device)
            logits = model(pixels)
            loss = objective(logits, labels, answers, step / steps_per_epoch)
            if not torch.isfinite(loss.total):
                nth = f"batch {step % steps_per_epoch + 1} of {steps_per_epoch}"
                moment = f"epoch {epoch + 1}, step {step + 1} ({nth})"
                raise _not_finite(moment, loss.total, logits, answers, view, batch)
            optimizer.zero_grad(set_to_none=True)
            loss.total.backward()
            if recipe.clip_norm:
                torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
            optimizer.step()
            if average is not None:
                average.update_parameters(model)
            for name, value in {"loss": loss.total.detach(), **loss.parts}.items():
                sums[name] = sums.get(name, 0.0) + value.item() * len(batch)
        means = {name: value / len(places) for name, value in sums.items()}
        judged = average.module if average is not None else model
        answered = predict(judged, val_split, device)
        if not np.isfinite(answered).all():
            moment = f"epoch {epoch + 1}, after its last step"
            problem = "the network's logits on the validation images are not finite"
            raise TrainingError(moment, problem, _CALM_DOWN)
        right = answered.argmax(1) == val_split.labels
        done = Epoch(epoch + 1, means.pop("loss"), means, float(right.mean()))
        history.append(done)
        on_epoch(done)
        if best is None or recipe.keep == "last" or done.val_accuracy > best.val_accuracy:
            best, best_state = done, copy.deepcopy(judged.state_dict())
    for _ in steps:  # lets the progress bar end
        pass
    assert best is not None  # a recipe has at least one epoch
    model.load_state_dict(best_state)
    model.eval()
    return Trained(model, best, history)


def predict(
    model: torch.nn.Module, split: Split, device: torch.device, batch_size: int = 128
) -> NDArray[np.float32]:
    """Logits float32 [n, classes] of a split's images as they are, in evaluation mode."""
    model.eval()
    with torch.inference_mode():
        parts = [
            model(to_unit_range(split.images[start : start + batch_size], device)).float().cpu()
            for start in range(0, len(split), batch_size)
        ]
    return torch.cat(parts).numpy()


def _batches(
    places: NDArray[np.int64], steps: int, seed: int, epoch: int
) -> Iterator[NDArray[np.int64]]:
    """The images of each step; sizes differ by one at most, so none is too small."""
    order = np.random.default_rng([seed, epoch]).permutation(places)
    for batch in np.array_split(order, steps):
        # Sorted, because packed images are read from disk in order faster.
        yield np.sort(batch)


def _answers(
    teacher: TeacherAnswers | None, view: int, batch: NDArray[np.int64], device: torch.device
) -> Tensor | None:
    if teacher is None:
        return None
    return torch.from_numpy(np.asarray(teacher.logits[view, batch], np.float32)).to(device)


def _not_finite(
    moment: str,
    loss: Tensor,
    logits: Tensor,
    answers: Tensor | None,
    view: int,
    batch: NDArray[np.int64],
) -> TrainingError:
    """Says whose logits went bad first, and on which images; looked for only once it happened."""
    problem = f"the loss is {loss.item()}"
    # The teacher comes first: its answers were there before, and no student can spoil them.
    for who, said, remedy in (
        ("teacher", answers, "run cache_logits again"),
        ("network" if answers is None else "student", logits, _CALM_DOWN),
    ):
        if said is None:
            continue
        bad = batch[~torch.isfinite(said).all(dim=1).cpu().numpy()]
        if len(bad):
            problem += f": the {who}'s logits on view {view} of images {_some(bad)} are not finite"
            return TrainingError(moment, problem, remedy)
    problem += f", though all logits are finite; images {_some(batch)}"
    return TrainingError(moment, problem, _CALM_DOWN)


def _some(places: NDArray[np.int64]) -> str:
    more = len(places) - _IMAGES_SHOWN
    shown = ", ".join(map(str, places[:_IMAGES_SHOWN]))
    return f"{shown} and {more} more" if more > 0 else shown


def _check_teacher(
    model: Classifier, objective: Objective, split: Split, teacher: TeacherAnswers | None
) -> None:
    if teacher is None:
        if objective.needs_teacher:
            raise TrainingError(
                type(objective).__name__, "needs the teacher's logits", "run cache_logits first"
            )
        return
    expected = (len(split), len(model.spec.classes))
    if teacher.logits.shape[1:] != expected:
        raise TrainingError(
            "the teacher's logits",
            f"are for (images, classes) {teacher.logits.shape[1:]}, training has {expected}",
            "run cache_logits again",
        )
