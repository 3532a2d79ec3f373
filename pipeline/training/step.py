"""One step after the other."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.data.prepared import Split
from pipeline.params import Recipe, Views
from pipeline.training.distributed import Group
from pipeline.training.finite_checks import not_finite, out_of_memory
from pipeline.training.mixing import Mix, draw_mix, mixed_loss
from pipeline.training.rng import draws_of
from pipeline.training.state import State
from pipeline.training.teacher import Teacher
from pipeline.views import make_views, to_unit_range


@dataclass(frozen=True)
class TrainingStep:
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

    def run(self, batch: NDArray[np.int64]) -> None:
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
            raise out_of_memory(recipe, state.device, error) from None
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
            raise not_finite(
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
