"""The training loop."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.data.prepared import Split
from pipeline.errors import TrainingError
from pipeline.losses import Objective
from pipeline.models.classifier import Classifier
from pipeline.params import Recipe, Views
from pipeline.progress import Track, silent
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.distributed import Group
from pipeline.training.draws import draws_of
from pipeline.training.freezing import learn_all, learn_head
from pipeline.training.history import Epoch, has_settled, kept_epoch
from pipeline.training.mixing import Mix, check_mixing, draw_mix, mixed_loss
from pipeline.training.optimisation import build_average, build_optimizer, rate_factor
from pipeline.training.precision import resolve_precision
from pipeline.training.state import State
from pipeline.training.stopping import TrainingStopped
from pipeline.training.teacher import CachedTeacher, Teacher
from pipeline.views import make_views, to_unit_range

_CALM_DOWN = "lower the learning rate or the weight of the distillation"
_IMAGES_SHOWN = 8
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
    if not group.leads:
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
    lesson = _Lesson(
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
            lesson.take(batch)
            stopped, due = group.any(stop(), checkpoints is not None and checkpoints.due())
            if checkpoints is not None and (stopped or due):
                _check_weights(model, f"after {lesson.moment}")
                checkpoints.save(state)
            if stopped:
                group.any(False)  # a process that leaves early would end the one that saves
                raise TrainingStopped(lesson.moment)
        means = {name: value / len(places) for name, value in state.sums.items()}
        judged = state.average.module if state.average is not None else model
        moment = f"epoch {epoch + 1}, after its last step"
        accuracy = _accuracy(judged, val_split, device, moment, group)
        done = Epoch(epoch + 1, means.pop("loss"), means, accuracy)
        state.history.append(done)
        state.steps, state.sums = 0, {}
        if kept_epoch(state.history, recipe) is done:
            state.kept = copy.deepcopy(judged.state_dict())
        if checkpoints is not None:
            _check_weights(model, moment)
            checkpoints.save(state)
        on_epoch(done)
    for _ in steps:  # lets the progress bar end
        pass
    model.load_state_dict(state.kept)
    model.eval()
    return Trained(model, kept_epoch(state.history, recipe), state.history)


@dataclass(frozen=True)
class _Lesson:
    """One step after the other.

    Attributes:
        state: What a step changes.
        network: The model, spread over the processes, and compiled if that is asked for.
        group: The processes that train together.
        seed: Of the mixing, and of what layers and objective draw.
        recipe: How a step is made.
        precision: What the network computes in.
        split: Images and labels to learn from.
        views: How images are augmented.
        teacher: Answers the views, if there is one.
        steps_per_epoch: Steps that show every image once.
    """

    state: State
    network: nn.Module
    group: Group
    seed: int
    recipe: Recipe
    precision: torch.dtype
    split: Split
    views: Views
    teacher: Teacher | None
    steps_per_epoch: int

    @property
    def moment(self) -> str:
        """The step that was done last, as a person counts."""
        epoch, steps = len(self.state.history), self.state.steps
        nth = f"batch {steps} of {self.steps_per_epoch}"
        return f"epoch {epoch + 1}, step {epoch * self.steps_per_epoch + steps} ({nth})"

    def take(self, batch: NDArray[np.int64]) -> None:
        """Learns from the images at the places ``batch``.

        Raises:
            TrainingError: The loss is not finite, or a GPU's memory is too small.
        """
        state, recipe = self.state, self.recipe
        epoch = len(state.history)
        when = (epoch * self.steps_per_epoch + state.steps) / self.steps_per_epoch
        view = self.teacher.view_of(epoch) if self.teacher is not None else epoch
        state.steps += 1
        state.optimizer.zero_grad(set_to_none=True)
        size = self.split.images.shape[1]
        mix = draw_mix(recipe, batch, size, (self.seed, epoch, state.steps))
        try:
            parts = np.array_split(batch, min(recipe.accumulate, len(batch)))
            for part in parts:
                with self.group.adding_up(last=part is parts[-1]):
                    self._gather(part, len(part) / len(batch), view, when, mix)
            if recipe.clip_norm:
                state.scaler.unscale_(state.optimizer)
                nn.utils.clip_grad_norm_(state.model.parameters(), recipe.clip_norm)
            state.scaler.step(state.optimizer)
        except torch.OutOfMemoryError as error:
            raise _out_of_memory(recipe, state.device, error) from None
        state.scaler.update()
        if state.average is not None:
            state.average.update_parameters(state.model)

    def _gather(
        self, part: NDArray[np.int64], share: float, view: int, when: float, mix: Mix | None
    ) -> None:
        """Adds the gradients of a part of a batch, and its loss to the epoch's sums."""
        state, teacher, device = self.state, self.teacher, self.state.device
        mine = self.group.share(part)
        draws = (self.seed, len(state.history), state.steps, int(part[0]))
        pixels = self._pixels(mine, view) if mix is None else self._mixed(mine, view, mix)
        labels = self._labels(part)
        answers = None
        if teacher is not None:
            answers = self.group.gather(teacher.answer(view, mine, pixels), len(part))
        mixed = self.precision != torch.float32
        with (
            torch.autocast(device.type, self.precision) if mixed else nullcontext(),
            self.group.own_draws(device, *draws),
        ):
            logits = self.network(pixels)
        logits = self.group.gather(logits.float(), len(part))
        with draws_of(device, *draws):  # the same ones in every process
            if mix is None:
                loss = state.objective(logits, labels, answers, when)
            else:
                theirs = self._labels(mix.partners_of(part))
                loss = mixed_loss(state.objective, logits, labels, theirs, mix.share, answers, when)
        named = {"loss": loss.total.detach(), **loss.parts}
        # All numbers in one transfer: each one waits until the GPU has computed it.
        values = dict(zip(named, torch.stack(list(named.values())).tolist(), strict=True))
        if not math.isfinite(values["loss"]):
            remedy = teacher.remedy if teacher is not None else ""
            raise _not_finite(
                self.moment, state.model, values["loss"], logits, answers, view, part, remedy
            )
        state.scaler.scale(loss.total * share).backward()
        for name, value in values.items():
            state.sums[name] = state.sums.get(name, 0.0) + value * len(part)

    def _pixels(self, places: NDArray[np.int64], view: int) -> Tensor:
        device = self.state.device
        packed = self.teacher.packed(view, places) if self.teacher is not None else None
        if packed is not None:
            return to_unit_range(packed, device)
        return make_views(self.split.images[places], places, view, self.views, device)

    def _mixed(self, part: NDArray[np.int64], view: int, mix: Mix) -> Tensor:
        """The views of a part, mixed with those of its partners, which may be in other parts."""
        wanted = np.concatenate([part, mix.partners_of(part)])
        places, where = np.unique(wanted, return_inverse=True)
        pixels = self._pixels(places, view)
        return mix.blend(pixels[where[: len(part)]], pixels[where[len(part) :]])

    def _labels(self, places: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self.split.labels[places]).to(self.state.device)


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


def _heard_from_first(*news: object) -> None:
    """What the first of several processes tells, the others do not tell again."""


def _accuracy(
    model: nn.Module, split: Split, device: torch.device, moment: str, group: Group
) -> float:
    group.share_statistics(model)
    mine = group.stretch(len(split))
    right = bad = 0
    if mine.start < mine.stop:
        images, labels = split.images[mine], split.labels[mine]
        answered = predict(model, Split(images, labels), device)
        bad = int(not np.isfinite(answered).all())
        right = int((answered.argmax(1) == labels).sum())
    right, bad = group.add_up(right, bad)
    if bad:
        _check_weights(model, moment)
        problem = "the network's logits on the validation images are not finite"
        raise TrainingError(moment, problem, _CALM_DOWN)
    return right / len(split)


def _batches(
    places: NDArray[np.int64], steps: int, seed: int, epoch: int
) -> Iterator[NDArray[np.int64]]:
    """The images of each step; sizes differ by one at most, so none is too small."""
    order = np.random.default_rng([seed, epoch]).permutation(places)
    for batch in np.array_split(order, steps):
        # Sorted, because packed images are read from disk in order faster.
        yield np.sort(batch)


def _not_finite(
    moment: str,
    model: nn.Module,
    loss: float,
    logits: Tensor,
    answers: Tensor | None,
    view: int,
    batch: NDArray[np.int64],
    teacher_remedy: str,
) -> TrainingError:
    """Says what went bad first, and on which images; looked for only once it happened."""
    problem = f"the loss is {loss}"

    def bad_images(said: Tensor) -> NDArray[np.int64]:
        whole: NDArray[np.bool_] = torch.isfinite(said).all(dim=1).cpu().numpy()
        return batch[~whole]

    # The teacher comes first: its answers were there before, and no student can spoil them.
    if answers is not None and len(bad := bad_images(answers)):
        problem += f": the teacher's logits on view {view} of images {_some(bad)} are not finite"
        return TrainingError(moment, problem, teacher_remedy)
    if name := _bad_weight(model):
        return TrainingError(moment, f"{problem}: {name} is not finite", _CALM_DOWN)
    if len(bad := bad_images(logits)):
        who = "network" if answers is None else "student"
        problem += f": the {who}'s logits on view {view} of images {_some(bad)} are not finite"
        return TrainingError(moment, problem, _CALM_DOWN)
    problem += f", though all logits are finite; images {_some(batch)}"
    return TrainingError(moment, problem, _CALM_DOWN)


def _check_weights(model: nn.Module, moment: str) -> None:
    """Keeps a network that went bad out of the checkpoint."""
    if name := _bad_weight(model):
        raise TrainingError(moment, f"{name} is not finite", _CALM_DOWN)


def _bad_weight(model: nn.Module) -> str | None:
    """The first parameter that is not finite, or else the first statistic, or else None."""
    for kind, named in (
        ("parameter", model.named_parameters()),
        ("statistic", model.named_buffers()),
    ):
        for name, tensor in named:
            if not torch.isfinite(tensor).all():
                return f"the {kind} {name}"
    return None


def _out_of_memory(
    recipe: Recipe, device: torch.device, error: torch.OutOfMemoryError
) -> TrainingError:
    said = str(error).split(". ")[0]
    return TrainingError(
        f"{recipe.section}.batch_size = {recipe.batch_size}",
        f"a step does not fit into the memory of {device} ({said})",
        f"lower it, or raise {recipe.section}.accumulate = {recipe.accumulate}",
    )


def _some(places: NDArray[np.int64]) -> str:
    more = len(places) - _IMAGES_SHOWN
    shown = ", ".join(map(str, places[:_IMAGES_SHOWN]))
    return f"{shown} and {more} more" if more > 0 else shown


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
