"""Effective values of all parameters, including defaults, in one file that DVC tracks."""

from stages.command import Context, stage


@stage(reads="params.yaml", writes="reports/params.yaml")
def resolve(context: Context) -> None:
    """Validate the parameters and write the effective values to one file.

    Every other stage of dvc.yaml depends on its sections of that file. Therefore DVC also detects
    changed defaults.
    """
    import yaml

    from pipeline.files import atomic_file

    values = context.params.model_dump()
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    with atomic_file(context.paths.params) as temporary:
        header = "# Effective values. Written by `finch resolve`; edit params.yaml instead.\n"
        temporary.write_text(header + text, encoding="utf-8")
    context.log.info("wrote reports/params.yaml: %d sections", len(values))


if __name__ == "__main__":
    resolve()
