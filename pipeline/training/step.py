"""One training step: forward and backward passes of a batch, and the optimizer's update."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
import torch
from finch_runtime.image_size import ImageSize
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.errors import TrainingError
from pipeline.models.fitting_batches import requested_memory
from pipeline.training.device import unrepeatable_operation
from pipeline.training.mixing import Mix, sample_mix
from pipeline.training.pending_losses import MicroBatch, PendingLosses
from pipeline.training.rng import fork_rng
from pipeline.training.state import TrainingState
from pipeline.training.step_data import StepData, open_step_data
from pipeline.training.task import TrainingEnvironment, TrainingTask
from pipeline.transfers import to_device
from pipeline.views import make_views, to_unit_range


@dataclass(frozen=True)
class TrainingStep:
    """The training step of a run.

    Attributes:
        state: Training state.
        network: The model, possibly compiled or wrapped for distributed training.
        task: Training task.
        env: Training environment.
        precision: Dtype of the forward pass.
        steps_per_epoch: Number of steps per epoch.
    """

    state: TrainingState
    network: nn.Module
    task: TrainingTask
    env: TrainingEnvironment
    precision: torch.dtype
    steps_per_epoch: int

    @cached_property
    def losses(self) -> PendingLosses:
        """Losses that are not yet in the sums of the epoch."""
        teacher = self.task.teacher
        return PendingLosses(self.state.model, "" if teacher is None else teacher.fix)

    @cached_property
    def data(self) -> StepData:
        """The arrays that steps read rows of; opened by the first step."""
        env = self.env
        return open_step_data(self.task, self.state.device, env.data_on_device, env.on_remark)

    @property
    def name(self) -> str:
        """The current step, for messages."""
        epoch, steps = len(self.state.history), self.state.steps
        batch = f"batch {steps} of {self.steps_per_epoch}"
        return f"epoch {epoch + 1}, step {epoch * self.steps_per_epoch + steps} ({batch})"

    def run(self, batch: NDArray[np.int64], following: NDArray[np.int64] | None = None) -> None:
        """Trains on the images with the numbers ``batch``, int64 [n], sorted.

        The loss is the mean cross-entropy of the images with labels, plus the teacher's terms over
        all images of a micro-batch. The host does not wait for a GPU, except every
        ``env.check_every`` steps to read the losses. Meanwhile, the images of the next step, whose
        batch is ``following``, are read from files.

        Raises:
            TrainingError: A loss is not finite, the GPU runs out of memory, or the network cannot
                be trained with ``run.deterministic``.
        """
        state, recipe = self.state, self.task.recipe
        epoch = len(state.history)
        step = epoch * self.steps_per_epoch + state.steps
        progress = step / self.steps_per_epoch
        teacher_scale = self.task.loss.teacher_scale(progress)
        view = self._view_of(step)
        state.steps += 1
        state.optimizer.zero_grad(set_to_none=True)
        size = self.task.image_size
        labelled, _ = self.task.part(batch)
        mix = sample_mix(recipe, labelled, size, (self.env.seed, epoch, state.steps))
        own = self.env.group.shard_of
        if not (recipe.mixup or recipe.cutmix):
            needed = [] if following is None else map(own, self._micro_batches(following))
            self.data.start_step(self._view_of(step + 1), needed)
        micro_batches = self._micro_batches(batch)
        try:
            for index, images in enumerate(micro_batches):
                weight = len(self.task.part(images)[0]) / len(labelled)
                with self.env.group.sync_gradients(index == len(micro_batches) - 1):
                    self._accumulate(images, weight, view, teacher_scale, mix)
            if recipe.clip_norm:
                state.scaler.unscale_(state.optimizer)
                nn.utils.clip_grad_norm_(state.model.parameters(), recipe.clip_norm)
            state.scaler.step(state.optimizer)
        except torch.OutOfMemoryError as error:
            detail, section = requested_memory(error), recipe.section
            files = ", or set run.data_on_device to never" if self.data.is_placed else ""
            raise TrainingError(
                f"{section}.batch_size = {recipe.batch_size}",
                f"a training step does not fit in the memory of {state.device} ({detail})",
                f"lower it, or raise {section}.accumulate = {recipe.accumulate}{files}",
            ) from None
        except RuntimeError as error:
            if not (operation := unrepeatable_operation(error)):
                raise
            raise TrainingError(
                "run.deterministic = true",
                f"{operation}, which the network uses, cannot be repeated to the same bits on "
                f"{state.device.type}",
                f"set it to false, or choose another {recipe.section}.model",
            ) from None
        state.scaler.update()
        if state.ema is not None:
            state.ema.update_parameters(state.model)

    def _view_of(self, step: int) -> int:
        """The view in a step; an image that is drawn again in an epoch has another one."""
        number = step
        if self.task.recipe.sampling == "natural":
            number = step // self.steps_per_epoch
        return number if self.task.teacher is None else self.task.teacher.view_of(number)

    def _micro_batches(self, batch: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Parts of a batch, of which each has its share of the images with and without labels."""
        parts = self.task.part(batch)
        count = min(self.task.recipe.accumulate, len(parts[0]))
        split = (np.array_split(part, count) for part in parts)
        return [np.concatenate(both) for both in zip(*split, strict=True)]

    def _accumulate(
        self,
        indices: NDArray[np.int64],
        weight: float,
        view: int,
        teacher_scale: float,
        mix: Mix | None,
    ) -> None:
        """Adds the gradients of a micro-batch, and its loss to the sums of the epoch."""
        state, device, group = self.state, self.state.device, self.env.group
        key = (self.env.seed, len(state.history), state.steps, int(indices[0]))
        labelled, _ = self.task.part(indices)
        own = group.shard_of(indices)
        pixels = self._input(own, view, mix, self.task.image_size)
        logits: dict[str, Tensor] = {}
        if (teacher := self.data.teacher) is not None:
            shown = pixels
            if teacher.image_size not in (None, self.task.image_size):
                shown = self._input(own, view, mix, teacher.image_size)
            teacher_logits = teacher.get_logits(view, own, shown)
            logits["teacher"] = group.all_gather(teacher_logits, len(indices))
        mixed_precision = self.precision != torch.float32
        with (
            torch.autocast(device.type, self.precision) if mixed_precision else nullcontext(),
            group.fork_rng(device, *key),
        ):
            outputs = self.network(pixels)
        student = "network" if teacher is None else "student"
        logits[student] = group.all_gather(outputs.float(), len(indices))

        def compute_loss(images: NDArray[np.int64]) -> dict[str, Tensor]:
            labels = self.data.labels(images)
            terms = self.task.loss.terms(
                logits[student], logits.get("teacher"), labels, teacher_scale=teacher_scale
            )
            return {"loss": reduce(torch.add, terms.values()), **terms}

        with fork_rng(device, *key):  # the same random numbers in every process
            losses = compute_loss(labelled)
            if mix is not None:
                partners = compute_loss(mix.partners_of(labelled))
                losses = {n: mix.lam * v + (1 - mix.lam) * partners[n] for n, v in losses.items()}
        self.losses.add(
            MicroBatch(
                step=self.name,
                names=tuple(losses),
                values=torch.stack([value.detach() for value in losses.values()]),
                finite={name: rows.detach().isfinite().all(1) for name, rows in logits.items()},
                labelled=len(labelled),
                images=indices,
                view=view,
            )
        )
        # The CPU has computed the losses already.
        if device.type == "cpu" or state.steps % self.env.check_every == 0:
            self.read_losses()
        state.scaler.scale(losses["loss"] * weight).backward()  # type: ignore[no-untyped-call]

    def read_losses(self) -> None:
        """Adds the losses of all steps so far to the sums of the epoch; waits for a GPU.

        Raises:
            TrainingError: A loss is not finite.
        """
        self.state.sums = self.losses.read(self.state.sums)

    def _input(
        self, indices: NDArray[np.int64], view: int, mix: Mix | None, size: ImageSize | None
    ) -> Tensor:
        """Views of a size, mixed if there is a ``mix``."""
        if mix is None:
            return self._pixels(indices, view, size)
        return self._mixed_pixels(indices, view, mix, size)

    def _pixels(self, indices: NDArray[np.int64], view: int, size: ImageSize | None) -> Tensor:
        device, data = self.state.device, self.data
        packed = data.packed_views(view, indices, size)
        if packed is not None:
            return to_unit_range(packed, device)
        images = data.images(view, indices)
        return make_views(images, indices, view, self.task.views, device, size)

    def _mixed_pixels(
        self, indices: NDArray[np.int64], view: int, mix: Mix, size: ImageSize | None
    ) -> Tensor:
        """Views mixed with those of their partners, which may be in other micro-batches.

        Images without labels are not mixed.
        """
        labelled, others = self.task.part(indices)
        both = np.concatenate([labelled, mix.partners_of(labelled)])
        unique, inverse = np.unique(both, return_inverse=True)
        pixels = self._pixels(np.concatenate([unique, others]), view, size)
        device = pixels.device
        first, second = np.split(inverse, 2)
        mixed = mix.blend(pixels[to_device(first, device)], pixels[to_device(second, device)])
        return torch.cat([mixed, pixels[len(unique) :]]) if len(others) else mixed
