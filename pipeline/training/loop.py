"""The training loop."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.data.prepared import Split
from pipeline.errors import TrainingError
from pipeline.losses import Objective
from pipeline.models.classifier import Classifier
from pipeline.params import Recipe, Views
from pipeline.progress import Track, silent
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.distributed import Group
from pipeline.training.finite_checks import check_weights
from pipeline.training.freezing import learn_all, learn_head
from pipeline.training.history import Epoch, has_settled, kept_epoch
from pipeline.training.mixing import check_mixing
from pipeline.training.optimizer import build_average, build_optimizer, rate_factor
from pipeline.training.precision import resolve_precision
from pipeline.training.state import State
from pipeline.training.step import TrainingStep
from pipeline.training.stopping import TrainingStopped
from pipeline.training.teacher import CachedTeacher, Teacher
from pipeline.training.validation import validation_accuracy

_ALONE = Group()


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
    group: Group = _ALONE,
    teacher: Teacher | None = None,
    places: NDArray[np.int64] | None = None,
    freeze_epochs: int = 0,
    checkpoints: Checkpoints | None = None,
    stop: Callable[[], bool] = lambda: False,
    track: Track = silent,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    on_resume: Callable[[list[Epoch], int], None] = lambda history, steps: None,
) -> Trained:
    """Trains a classifier; the same call gives the same weights on one device.

    On the CPU, with as many threads, that also holds when training was killed at any moment and
    the call was made again with the same checkpoints: the weights are the same to the bit.

    Several processes make the same call, each with its ``group``. The first alone keeps
    checkpoints, shows progress and calls back; all of them stop when one is asked to.

    Args:
        model: Starts from the weights it has; trained in place.
        objective: What a step minimises.
        recipe: Optimiser, schedule, epochs.
        train_split: Images and labels to learn from.
        val_split: Images and labels to choose the best epoch by.
        views: How images are augmented.
        device: Where to train.
        seed: Of the batches' order and of their mixing, and of what the objective draws.
        group: The processes that train together.
        teacher: Answers the views, cached or live, and says which one an epoch shows. Without it
            every epoch shows a new view.
        places: Images of ``train_split`` to learn from, int64; all of them when None.
        freeze_epochs: Epochs in which only the classifier layer learns.
        checkpoints: Where training goes on from, and is kept; nowhere when None.
        stop: Asked after every step; when it says yes, a checkpoint is made and training ends.
        track: Shows progress.
        on_epoch: Called after each epoch.
        on_resume: Called with the epochs that are done and the steps done of the next one, when
            training goes on from a checkpoint.

    Raises:
        TrainingError: The loss or a weight is not finite, teacher and student do not fit together,
            memory is short, or a checkpoint cannot be written.
        TrainingStopped: ``stop`` said yes.
        ArtefactError: The checkpoint is damaged or does not fit.
        ParameterError: The device has no such precision, the network no layer to learn alone,
            a batch not enough images for the processes, or the teacher's cached answers no mixed
            images.
    """
    _check_teacher(model, objective, train_split, teacher)
    check_mixing(recipe, objective, cached=isinstance(teacher, CachedTeacher))
    if places is None:
        places = np.arange(len(train_split))
    group.check(recipe, len(places))
    if not group.is_main:
        checkpoints, track = None, silent
        on_epoch, on_resume = _heard_from_first, _heard_from_first
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    group.adapt(model)
    objective.to(device)
    precision = resolve_precision(recipe.precision, device)
    state = State(
        model,
        objective,
        build_optimizer(model, recipe),
        build_average(model, recipe.ema_decay),
        torch.amp.GradScaler(device.type, enabled=precision == torch.float16),
        device,
    )
    network = group.spread(model, frozen=freeze_epochs > 0)
    lesson = TrainingStep(
        state,
        cast("nn.Module", torch.compile(network)) if recipe.compile else network,
        group,
        seed,
        recipe,
        precision,
        train_split,
        views,
        teacher,
        steps_per_epoch=-(-len(places) // recipe.batch_size),
    )
    total_steps = recipe.epochs * lesson.steps_per_epoch
    factor = rate_factor(recipe, total_steps)
    steps = iter(track(range(total_steps), "training", total_steps))
    if group.start_alike(state, checkpoints is not None and checkpoints.restore(state)):
        on_resume(list(state.history), state.steps)
        for _ in range(len(state.history) * lesson.steps_per_epoch + state.steps):
            next(steps)
    while len(state.history) < recipe.epochs and not has_settled(state.history, recipe):
        epoch = len(state.history)
        if epoch < freeze_epochs:
            learn_head(model)
        elif freeze_epochs:
            learn_all(model)
        else:
            model.train()
        batches = _batches(places, lesson.steps_per_epoch, seed, epoch)
        for batch in islice(batches, state.steps, None):
            step = next(steps)
            for layers in state.optimizer.param_groups:
                layers["lr"] = recipe.lr * factor(step)
            lesson.run(batch)
            stopped, due = group.any(stop(), checkpoints is not None and checkpoints.due())
            if checkpoints is not None and (stopped or due):
                check_weights(model, f"after {lesson.moment}")
                checkpoints.save(state)
            if stopped:
                group.any(False)  # a process that leaves early would end the one that saves
                raise TrainingStopped(lesson.moment)
        means = {name: value / len(places) for name, value in state.sums.items()}
        judged = state.average.module if state.average is not None else model
        moment = f"epoch {epoch + 1}, after its last step"
        accuracy = validation_accuracy(judged, val_split, device, moment, group)
        done = Epoch(epoch + 1, means.pop("loss"), means, accuracy)
        state.history.append(done)
        state.steps, state.sums = 0, {}
        if kept_epoch(state.history, recipe) is done:
            state.kept = copy.deepcopy(judged.state_dict())
        if checkpoints is not None:
            check_weights(model, moment)
            checkpoints.save(state)
        on_epoch(done)
    for _ in steps:  # lets the progress bar end
        pass
    model.load_state_dict(state.kept)
    model.eval()
    return Trained(model, kept_epoch(state.history, recipe), state.history)


def _heard_from_first(*news: object) -> None:
    """What the first of several processes tells, the others do not tell again."""


def _batches(
    places: NDArray[np.int64], steps: int, seed: int, epoch: int
) -> Iterator[NDArray[np.int64]]:
    """The images of each step; sizes differ by one at most, so none is too small."""
    order = np.random.default_rng([seed, epoch]).permutation(places)
    for batch in np.array_split(order, steps):
        # Sorted, because packed images are read from disk in order faster.
        yield np.sort(batch)


def _check_teacher(
    model: Classifier, objective: Objective, split: Split, teacher: Teacher | None
) -> None:
    if teacher is None:
        if objective.needs_teacher:
            raise TrainingError(
                type(objective).__name__, "needs the teacher's logits", "run cache_logits first"
            )
        return
    teacher.check(len(split), len(model.spec.classes))
