"""Stage ``inputs``: names and contents of the files that no stage writes."""

from dataclasses import asdict
from pathlib import Path

from stages.command import Context, stage
from stages.console import track


@stage(
    reads="the files of prepare.source, pretrained weights, distill.class_order.file, and the code "
    "of plug-ins",
    writes="reports/inputs.json; hashes of unchanged files are kept in .finch/",
)
def inputs(context: Context) -> None:
    """Record names and contents of the files that come from outside the pipeline.

    If the images change, `dvc repro` runs `prepare` again; if weights change, `finetune` or
    `distill`. Times of modification do not count.
    """
    from pipeline.data.sources import source_files
    from pipeline.data.sources.folder_tree import is_system_name
    from pipeline.file_fingerprint import FileHashes
    from pipeline.files import write_json
    from pipeline.models.weights_files import weights_files

    params, paths = context.params, context.paths
    order = params.distill.class_order.file
    orders = (Path(order),) if order else ()
    files = {
        "prepare": source_files(params.prepare),
        "finetune": weights_files(params.finetune),
        "distill": (*weights_files(params.distill), *orders),
        "qat": orders,
    }
    facts = {}
    with FileHashes(paths.input_hashes) as hashes:
        for name, outside in files.items():
            found = hashes.fingerprint(outside, leave_out=is_system_name, track=track)
            facts[name] = asdict(found) if outside else None
            if outside:
                context.log.info("%s reads %d files, %s", name, found.files, found.sha256[:12])
    write_json(paths.inputs, facts)


if __name__ == "__main__":
    inputs()
