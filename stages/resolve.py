"""All parameters in force, defaults included, in one file that DVC tracks."""

from stages.command import Context, stage


@stage(reads="params.yaml", writes="reports/params.yaml")
def resolve(context: Context) -> None:
    """Validate the parameters, and write the values in force.

    The other stages of dvc.yaml track their sections of that file, so that DVC also notices a
    default that changed in the code.
    """
    import yaml

    from pipeline.files import whole_file

    values = context.params.model_dump()
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    with whole_file(context.paths.params) as temporary:
        header = "# All values in force. Written by `finch resolve`; edit params.yaml instead.\n"
        temporary.write_text(header + text, encoding="utf-8")
    context.log.info("wrote reports/params.yaml: %d sections", len(values))


if __name__ == "__main__":
    resolve()
