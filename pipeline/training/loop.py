"""The training loop."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.class_metrics import ClassCounts
from pipeline.errors import Stopped
from pipeline.losses.logit_adjustment import label_offsets
from pipeline.models.classifier import Classifier
from pipeline.params import Recipe
from pipeline.training.batch_size import check_batch_norm, check_batch_size
from pipeline.training.finite_checks import check_weights
from pipeline.training.optimizer import build_ema, build_optimizer, freeze_backbone, lr_factor
from pipeline.training.precision import resolve_precision
from pipeline.training.sampling import ClassSampler
from pipeline.training.state import Epoch, TrainingState
from pipeline.training.step import TrainingStep
from pipeline.training.task import TrainingEnvironment, TrainingTask
from pipeline.training.validation import validate


@dataclass(frozen=True)
class TrainingResult:
    """A trained model.

    Attributes:
        model: Model with the weights of ``best``, in evaluation mode.
        best: Epoch with the best value of ``Recipe.keep_by``, or the last one (``Recipe.keep``).
        history: All epochs; only epoch 0, the initial weights, if the recipe has no epochs.
    """

    model: Classifier
    best: Epoch
    history: list[Epoch]


def train(model: Classifier, task: TrainingTask, env: TrainingEnvironment) -> TrainingResult:
    """Trains a classifier in place, starting from its current weights.

    On the CPU, with the same number of threads, the trained weights are bit-identical in every run,
    including runs that resume from a checkpoint.

    With 0 epochs the model is only validated, and its weights are unchanged.

    In distributed training, every process makes the same call with its own ``env.group``. Only the
    main process writes checkpoints, shows progress and runs callbacks.

    Raises:
        TrainingError: The loss or a weight is not finite, the task is inconsistent, the GPU runs
            out of memory, or a checkpoint cannot be written.
        ParameterError: Device, model, world size or teacher do not support the recipe.
        ArtifactError: The checkpoint is damaged or does not fit this training run.
        Stopped: ``env.should_stop`` returned true.
    """
    task.check(len(model.spec.classes))
    if not task.recipe.epochs:
        return _validate_only(model, task, env)
    return _Trainer(model, task, env).run()


def _validate_only(
    model: Classifier, task: TrainingTask, env: TrainingEnvironment
) -> TrainingResult:
    model.to(env.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    name = "the initial weights, on the validation split"
    counts = validate(model, task.val, len(model.spec.classes), env.device, name, env.group)
    epoch = _epoch(0, math.nan, {}, counts)
    if env.group.is_main:
        env.on_epoch(epoch)
    return TrainingResult(model.eval(), epoch, [epoch])


class _Trainer:
    def __init__(self, model: Classifier, task: TrainingTask, env: TrainingEnvironment) -> None:
        recipe, device = task.effective_recipe, env.device
        indices = np.arange(len(task.train)) if task.indices is None else task.indices
        process, frozen = env.group.process, recipe.freeze_epochs >= recipe.epochs
        check_batch_size(recipe, len(indices), process)
        if not env.group.is_main:  # no checkpoints, progress or callbacks
            env = TrainingEnvironment(
                device,
                env.seed,
                env.group,
                env.check_every,
                env.data_on_device,
                should_stop=env.should_stop,
            )
        model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if not frozen:  # a frozen batch norm uses its running statistics
            check_batch_norm(model, recipe, len(indices), process, device)
        env.group.sync_batch_norm(model)
        classes = len(model.spec.classes)
        sampler = ClassSampler(task.train.labels, indices, classes, recipe.sampling)
        weights = torch.from_numpy(sampler.weights)
        task.loss.label_offsets = label_offsets(weights, recipe.logit_adjustment)
        task.loss.to(device)
        precision = resolve_precision(recipe.precision, device, model)
        if recipe.precision == "auto" and precision != torch.float32:
            env.on_remark(f"{recipe.section}.precision = auto: the forward pass is in bf16")
        scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
        optimizer, ema = build_optimizer(model, recipe), build_ema(model, recipe.ema_decay)
        state = TrainingState(model, task.loss, optimizer, ema, scaler, device)
        network = env.group.wrap(model, find_unused_parameters=recipe.freeze_epochs > 0)
        if recipe.compile:
            graphs = recipe.compile == "reduce-overhead"
            # CUDA graphs need static shapes: the last batch of an epoch is compiled apart.
            mode, dynamic = ("reduce-overhead", False) if graphs else ("default", None)
            network = cast("nn.Module", torch.compile(network, mode=mode, dynamic=dynamic))
        steps_per_epoch = -(-len(indices) // recipe.batch_size)
        total_steps = recipe.epochs * steps_per_epoch
        self.model, self.task, self.env, self.state = model, task, env, state
        self.sampler, self.recipe = sampler, recipe
        self.step = TrainingStep(state, network, task, env, precision, steps_per_epoch)
        self.lr_factor = lr_factor(recipe, total_steps)
        self.step_numbers = iter(env.track(range(total_steps), "training", total_steps))

    def run(self) -> TrainingResult:
        """Runs all epochs, or those after the checkpoint if there is one."""
        history, recipe = self._resume(), self.recipe
        while len(history) < recipe.epochs and not stops_early(history, recipe):
            self._train_epoch()
            self._validate()
        for _ in self.step_numbers:  # completes the progress bar after early stopping
            pass
        self.model.load_state_dict(self.state.best_weights)
        self.model.eval()
        return TrainingResult(self.model, kept_epoch(history, recipe), history)

    def _resume(self) -> list[Epoch]:
        state, checkpoints = self.state, self.env.checkpoints
        restored = checkpoints is not None and checkpoints.restore(state)
        if self.env.group.broadcast_state(state, restored):
            self.env.on_resume(list(state.history), state.steps)
            for _ in range(len(state.history) * self.step.steps_per_epoch + state.steps):
                next(self.step_numbers)
        return state.history

    def _train_epoch(self) -> None:
        state, epoch = self.state, len(self.state.history)
        if epoch < self.recipe.freeze_epochs:
            freeze_backbone(self.model)
        else:
            self.model.train()
            if self.recipe.freeze_epochs:
                self.model.requires_grad_(True)
        batches = islice(self._epoch_batches(epoch), state.steps, None)
        for batch, following in pairwise(chain(batches, [None])):
            assert batch is not None
            lr = self.task.recipe.lr * self.lr_factor(next(self.step_numbers))
            for group in state.optimizer.param_groups:
                group["lr"] = lr * group["lr_factor"]
            self.step.run(batch, following)
            self._after_step()

    def _epoch_batches(self, epoch: int) -> Iterator[NDArray[np.int64]]:
        """The numbers of the images of every step."""
        steps, seed, unlabelled = self.step.steps_per_epoch, self.env.seed, self.task.unlabelled
        batches = _batches(self.sampler, steps, seed, epoch)
        if unlabelled is None:
            return batches
        added = unlabelled.draw(len(self.sampler), steps, seed, epoch)
        first = len(self.task.train)
        return (np.concatenate([b, first + a]) for b, a in zip(batches, added, strict=True))

    def _after_step(self) -> None:
        """Saves a checkpoint if one is due, and stops if requested in any process."""
        group, checkpoints = self.env.group, self.env.checkpoints
        stop = self.env.should_stop()
        stop, due = group.all_reduce_any(stop, checkpoints is not None and checkpoints.due())
        if stop or due:
            self._save(f"after {self.step.name}")
        if stop:
            group.all_reduce_any(False)  # no process may exit while the main process is saving
            raise Stopped(f"training resumes after {self.step.name}")

    def _validate(self) -> None:
        """Computes the metrics of an epoch, and copies its weights if they are to be kept."""
        state, recipe = self.state, self.task.recipe
        self.step.read_losses()
        means = {name: total / len(self.sampler) for name, total in state.sums.items()}
        evaluated = self.model if state.ema is None else state.ema.module
        number = len(state.history) + 1
        name = f"epoch {number}, after its last step"
        val, device, classes = self.task.val, self.env.device, len(self.model.spec.classes)
        counts = validate(evaluated, val, classes, device, name, self.env.group)
        epoch = _epoch(number, means.pop("loss"), means, counts)
        state.history.append(epoch)
        state.steps, state.sums = 0, {}
        if kept_epoch(state.history, recipe) is epoch:
            state.best_weights = copy.deepcopy(evaluated.state_dict())
        self._save(name)
        self.env.on_epoch(epoch)

    def _save(self, step: str) -> None:
        if self.env.checkpoints is not None:
            self.step.read_losses()
            check_weights(self.model, step)
            self.env.checkpoints.save(self.state)


def _epoch(number: int, loss: float, terms: dict[str, float], counts: ClassCounts) -> Epoch:
    metrics = (counts.accuracy, counts.balanced_accuracy, counts.macro_f1)
    return Epoch(number, loss, terms, *map(float, metrics))


def _best_epoch(history: list[Epoch], recipe: Recipe) -> Epoch:
    """The epoch with the best value of ``recipe.keep_by``; the first one if several are equal."""
    return max(history, key=lambda epoch: epoch.metric(recipe.keep_by))


def kept_epoch(history: list[Epoch], recipe: Recipe) -> Epoch:
    """The epoch whose weights are returned."""
    return history[-1] if recipe.keep == "last" else _best_epoch(history, recipe)


def stops_early(history: list[Epoch], recipe: Recipe) -> bool:
    """Whether ``recipe.keep_by`` has not improved for ``recipe.patience`` epochs."""
    if not (recipe.patience and history):
        return False
    return history[-1].epoch - _best_epoch(history, recipe).epoch >= recipe.patience


def _batches(
    sampler: ClassSampler, steps: int, seed: int, epoch: int
) -> Iterator[NDArray[np.int64]]:
    """The shuffled batches of an epoch, whose sizes differ by at most one."""
    order = np.random.default_rng([seed, epoch]).permutation(sampler.draw(seed, epoch))
    for batch in np.array_split(order, steps):
        yield np.sort(batch)  # memory-mapped images are read faster in order
