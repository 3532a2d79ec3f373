"""Effective values of all parameters, including defaults, in one file that DVC tracks."""

from typing import TYPE_CHECKING

from stages.command import Context, stage

if TYPE_CHECKING:
    from pipeline.params import Distill, Finetune


@stage(reads="params.yaml, pretrained weights", writes="reports/params.yaml")
def resolve(context: Context) -> None:
    """Validate the parameters and write their effective values.

    Every other stage of dvc.yaml depends on its sections of the file. Therefore DVC also detects
    changed defaults. The networks are built with their initial weights, and shown an image of
    their image_size. Those that passed are remembered.
    """
    import yaml
    from finch_runtime.image_size import in_pixels

    from pipeline.files import atomic_file
    from pipeline.models.checked_networks import check_networks

    params = context.params
    teacher = params.finetune.networks(params.run.seed)
    networks: list[tuple[str, Finetune | Distill]] = [(n.key, n.recipe) for n in teacher]
    networks.append(("distill", params.distill))
    images, folder = params.prepare, context.paths.checked_networks
    sizes = {key: images.size_at(network.image_size) for key, network in networks}
    checked = check_networks(
        networks,
        images.image_size,
        folder,
        channels=images.channels,
        aspect_ratio=images.aspect_ratio,
    )
    for section in checked:
        context.log.info("%s.model takes images of %s", section, in_pixels(sizes[section]))
    values = params.model_dump()
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    with atomic_file(context.paths.params) as temporary:
        header = "# Effective values. Written by `finch resolve`; edit params.yaml instead.\n"
        temporary.write_text(header + text, encoding="utf-8")
    context.log.info("wrote reports/params.yaml: %d sections", len(values))


if __name__ == "__main__":
    resolve()
