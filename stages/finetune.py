"""Stage finetune: trains the teacher."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.command import Context, stage

if TYPE_CHECKING:
    from pipeline.params import Distill, Finetune


@stage(
    reads="data/prepared/, pretrained weights",
    writes="models/teacher/ (safetensors, model.json; members/, folds/), reports/teacher.json, "
    "reports/teacher_history.csv",
    distributed=True,
)
def finetune(context: Context) -> None:
    """Fine-tune the teacher on the prepared images.

    The members of an ensemble, and the teachers of folds, are trained one after the other. After an
    interruption, the next run resumes; networks that are finished are not trained again.
    """
    import numpy as np

    from pipeline.data.folds import assign_folds
    from pipeline.data.prepared import open_prepared
    from pipeline.models.checked_networks import check_networks
    from pipeline.training.device import prepare_torch
    from pipeline.training.distributed import init_distributed
    from pipeline.training.process_rank import read_process_rank
    from stages.teacher_training import (
        figures_of_folds,
        figures_of_members,
        train_teacher,
        write_folds,
        write_members,
    )

    params, paths = context.params, context.paths
    data, count = open_prepared(paths.prepared), params.cache_logits.folds
    networks = params.finetune.networks(params.run.seed)
    # Before the teacher is trained for a student, or beside a member, that cannot be.
    others: list[tuple[str, Finetune | Distill]] = [(n.key, n.recipe) for n in networks[1:]]
    others.append(("distill", params.distill))
    folder = paths.checked_networks
    info = data.info
    check_networks(
        others, info.image_size, folder, channels=info.channels, aspect_ratio=info.aspect_ratio
    )
    fold_of = np.empty(0, np.int64)
    if count:
        fold_of = assign_folds(data.split("train"), data.classes, count, params.run.seed)
    device = prepare_torch(params.run)
    train = partial(train_teacher, context, data, device, networks)
    with init_distributed(device):
        trained = train()
        folds = [train(fold, np.flatnonzero(fold_of != fold)) for fold in range(count)]
    if not read_process_rank().is_main:
        return
    figures = figures_of_members(trained)
    if folds:
        figures |= figures_of_folds(folds, fold_of)

    def write_parts(folder: Path) -> dict[str, Any]:
        record = write_members(folder, trained)
        return record | write_folds(folder, folds, fold_of) if folds else record

    first = trained[0]
    first.training.save(
        "teacher", first.result, first.record, figures=figures, write_parts=write_parts
    )
    if "ensemble" in figures:
        accuracy = figures["ensemble"]["val_accuracy"]
        message = "the mean of %d networks has validation accuracy %.1f %%"
        context.log.info(message, len(trained), 100 * accuracy)
    if folds:
        sizes = [fold["images"] for fold in figures["folds"].values()]
        message = "%d teachers learned from all folds but one, of %d to %d images"
        context.log.info(message, count, min(sizes), max(sizes))


if __name__ == "__main__":
    finetune()
