"""What the training stages share: checkpoints, interruption, logging, metrics and saving."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import torch

from pipeline.class_metrics import METRIC_NAMES
from pipeline.code_fingerprint import code_fingerprint
from pipeline.data.prepared import PreparedData
from pipeline.files import atomic_file, atomic_folder, hash_file, write_json
from pipeline.measure.accuracy import Accuracy, recall_figures, score
from pipeline.models.classifier import Classifier, write_classifier
from pipeline.models.inference import measure_cost
from pipeline.models.pretrained import Initialized, init_classifier
from pipeline.params.trained_network import TrainedNetwork
from pipeline.training.checkpoint import Checkpoints, checkpoint_key
from pipeline.training.distributed import init_distributed
from pipeline.training.loop import TrainingResult, train
from pipeline.training.precision import resolve_precision
from pipeline.training.process_rank import read_process_rank
from pipeline.training.state import Epoch
from pipeline.training.task import TrainingEnvironment, TrainingTask
from pipeline.training.validation import compute_logits
from stages.command import Context
from stages.console import track
from stages.interruption import between_steps

if TYPE_CHECKING:
    from dvclive import Live


@dataclass(frozen=True)
class StageTraining:
    """The training of a stage.

    Attributes:
        context: Context of the stage.
        stage: Name of the stage.
        task: What to train on.
        device: Training device.
        key_inputs: JSON values that the result depends on, for the checkpoint key.
        seed: Seed of the image order; None for ``run.seed``.
        label: Which of several trainings of the stage this is, for the log; empty for the main one,
            which alone is plotted by DVCLive.
    """

    context: Context
    stage: str
    task: TrainingTask
    device: torch.device
    key_inputs: Mapping[str, Any]
    seed: int | None = None
    label: str = ""

    @cached_property
    def code(self) -> str:
        """Fingerprint of the code of the stage and of its loss."""
        return code_fingerprint(f"stages.{self.stage}", type(self.task.loss))

    def initialize(self, network: TrainedNetwork, data: PreparedData) -> Initialized:
        """Creates the classifier with its initial weights, and logs how they were matched.

        Raises:
            ParameterError: The weights do not fit; or a class has none and nothing is trained.
        """
        size = data.size_at(network.image_size)
        started = init_classifier(network, data.classes, size, data.channels)
        if read_process_rank().is_main:
            for remark in started.remarks:
                self._log(f"{network.section}.weights: {remark}")
        if not network.epochs:
            started.check_trained(network.section)
        return started

    def run(self, model: Classifier) -> TrainingResult:
        """Trains a model in place, with checkpoints, log lines and DVCLive metrics."""
        run, folder = self.context.params.run, self._checkpoint_folder
        precision = str(resolve_precision(self.task.recipe.precision, self.device, model))
        inputs = {"code": self.code, "precision": precision, **self.key_inputs}
        key = checkpoint_key(model, self.device, **inputs)
        with init_distributed(self.device) as group, between_steps() as should_stop:
            checkpoints = Checkpoints(folder, key, run.checkpoint_minutes)
            env = TrainingEnvironment(
                device=self.device,
                seed=run.seed if self.seed is None else self.seed,
                group=group,
                check_every=run.check_every,
                data_on_device=run.data_on_device,
                checkpoints=checkpoints,
                should_stop=should_stop,
                track=track,
                on_epoch=self._log_epoch,
                on_remark=self._log,
                on_resume=self._log_resume,
            )
            return train(model, self.task, env)

    def save(
        self,
        name: Literal["teacher", "student"],
        result: TrainingResult,
        record: dict[str, Any],
        files: Mapping[str, Any] = MappingProxyType({}),
        *,
        figures: Mapping[str, Any] = MappingProxyType({}),
        write_parts: Callable[[Path], dict[str, Any]] = lambda folder: {},
    ) -> Accuracy | None:
        """Writes the reports and the folder of the model, in the main process only.

        Args:
            name: Name of the folder and of the reports.
            result: The trained model.
            record: The inputs of the training for ``model.json``, see ``pipeline.models.record``.
            files: Further JSON files of the folder, by name.
            figures: Further metrics of the report.
            write_parts: Writes what else belongs into the folder, and returns its record for
                ``model.json``.

        Returns:
            Accuracy on the validation images; None in the other processes.
        """
        if not read_process_rank().is_main:
            return None
        paths = self.context.paths
        val = self.task.val
        scored = score(compute_logits(result.model, val, self.device), val.labels)
        metrics = {**_describe(scored, result), **figures}
        reports = (paths.reports / f"{name}.json", paths.reports / f"{name}_history.csv")
        write_json(reports[0], metrics)
        _write_history(reports[1], result.history)
        common = self.record({path.name: hash_file(path) for path in reports})
        with atomic_folder(getattr(paths, name)) as folder:
            parts = write_parts(folder)
            write_classifier(folder, result.model, record | common | parts)
            for file, value in files.items():
                write_json(folder / file, value)
        self.clear_checkpoints()
        how = f"trained with {type(self.task.loss).__name__}"
        if not result.best.epoch:
            how = "with its pretrained weights as they are"
        self.context.log.info(
            f"wrote models/{name}: {result.model.spec.architecture} {how}, "
            f"validation accuracy {metrics['val_accuracy']:.1%} "
            f"(balanced {metrics['val_balanced_accuracy']:.1%}, majority class "
            f"{metrics['val_majority_fraction']:.1%}), epoch {result.best.epoch}"
        )
        return scored

    def record(self, reports: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
        """How the model was trained, for ``model.json``; ``reports`` are hashes by file name."""
        return {
            "code": self.code,
            "reports": dict(reports),
            "recipe": self.task.recipe.model_dump(),
            "torch": torch.__version__,
        }

    def clear_checkpoints(self) -> None:
        """Removes the checkpoints of the stage, once its outputs are written."""
        Checkpoints(self._checkpoint_folder, "", 0).clear()

    @property
    def _checkpoint_folder(self) -> Path:
        return self.context.paths.checkpoints / self.stage

    def _log_epoch(self, epoch: Epoch) -> None:
        if not epoch.epoch:
            self._plot(epoch)
            return
        terms = ", ".join(f"{name} {value:.4f}" for name, value in epoch.terms.items())
        epochs = self.task.effective_recipe.epochs
        self._log(
            f"epoch {epoch.epoch}/{epochs}: loss {epoch.loss:.4f} ({terms}), "
            f"validation accuracy {epoch.val_accuracy:.1%}{self._kept_by(epoch)}"
        )
        self._plot(epoch)

    def _kept_by(self, epoch: Epoch) -> str:
        """The metric that selects the epoch, unless it is accuracy."""
        name = self.task.recipe.keep_by
        return "" if name == "accuracy" else f", {METRIC_NAMES[name]} {epoch.metric(name):.1%}"

    def _log_resume(self, history: list[Epoch], steps: int) -> None:
        self._log(f"resuming after {len(history)} epochs and {steps} steps")
        for epoch in history:  # DVCLive starts empty, so no epoch is plotted twice
            self._plot(epoch)

    def _log(self, message: str) -> None:
        self.context.log.info("%s", f"{self.label}: {message}" if self.label else message)

    @cached_property
    def _live(self) -> Live | None:
        if self.label:
            return None
        if not Path(".dvc").is_dir():
            return None  # DVCLive would create a DVC repository in the enclosing git repository
        from dvclive import Live  # takes a second or two to import
        from scmrepo.exceptions import SCMError

        folder = self.context.paths.reports / "dvclive" / self.stage
        try:
            return Live(str(folder), save_dvc_exp=False, dvcyaml=None)
        except SCMError:  # the git repository has no commit yet, or cannot be read
            return None

    def _plot(self, epoch: Epoch) -> None:
        if self._live is None:
            return
        self._live.step = epoch.epoch
        for name, value in _metrics_of(epoch).items():
            self._live.log_metric(name, value)
        self._live.make_summary()


def _describe(scored: Accuracy, result: TrainingResult) -> dict[str, Any]:
    """Validation metrics and size of the trained model."""
    recalls = recall_figures(scored.recalls, result.model.spec.classes)
    images = [sum(row) for row in scored.confusion]
    return {
        "val_accuracy": scored.accuracy,
        "val_balanced_accuracy": scored.balanced_accuracy,
        "val_macro_f1": scored.macro_f1,
        "val_majority_fraction": max(images) / sum(images),
        "best_epoch": result.best.epoch,
        **{f"val_{name}": figure for name, figure in recalls.items()},
        **asdict(measure_cost(result.model)),  # of the form that is exported
    }


def _write_history(path: Path, history: list[Epoch]) -> None:
    """One row per epoch, for ``dvc plots``; the loss of epoch 0 is empty."""
    rows = [{"epoch": epoch.epoch, "loss": "", **_metrics_of(epoch)} for epoch in history]
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _metrics_of(epoch: Epoch) -> dict[str, float]:
    losses = {"loss": epoch.loss, **epoch.terms} if epoch.epoch else {}
    validation = {f"val_{name}": epoch.metric(name) for name in METRIC_NAMES}
    return {**losses, **validation}
