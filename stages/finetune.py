"""Stage finetune: trains the teacher."""

from functools import partial
from typing import TYPE_CHECKING

from stages.command import Context, stage

if TYPE_CHECKING:
    from pipeline.params import Distill, Finetune


@stage(
    reads="data/prepared/, pretrained weights",
    writes="models/teacher/ (safetensors, model.json; members/), reports/teacher.json, "
    "reports/teacher_history.csv",
    distributed=True,
)
def finetune(context: Context) -> None:
    """Fine-tune the teacher, with its members if there are any, on the prepared images.

    After an interruption, the next run resumes; networks that are finished are not trained again.
    """
    from pipeline.data.prepared import open_prepared
    from pipeline.models.checked_networks import check_networks
    from pipeline.training.device import prepare_torch
    from pipeline.training.process_rank import read_process_rank
    from stages.teacher_training import figures_of_members, train_network, write_members

    params, paths = context.params, context.paths
    data = open_prepared(paths.prepared)
    main, *members = params.finetune.networks(params.run.seed)
    # Before the teacher is trained for a student, or beside a member, that cannot be.
    others: list[tuple[str, Finetune | Distill]] = [(m.key, m.recipe) for m in members]
    others.append(("distill", params.distill))
    check_networks(others, data.image_size, paths.checked_networks)
    device = prepare_torch(params.run)
    trained = [train_network(context, data, device, main)]
    for index, member in enumerate(members):
        trained.append(train_network(context, data, device, member, f"member {index}"))
    if not read_process_rank().is_main:
        return
    figures = figures_of_members(trained)
    first = trained[0]
    first.training.save(
        "teacher",
        first.result,
        first.record,
        figures=figures,
        write_parts=partial(write_members, trained=trained),
    )
    if members:
        context.log.info(
            "the mean of %d networks has validation accuracy %.1f %%",
            len(trained),
            100 * figures["ensemble"]["val_accuracy"],
        )


if __name__ == "__main__":
    finetune()
