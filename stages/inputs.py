"""Stage ``inputs``: names and contents of the files that no stage writes, which stages read."""

from pathlib import Path

from stages.command import Context, stage
from stages.console import track


@stage(
    reads="the files of prepare.source, pretrained weights, distill.class_order.file, and the code "
    "of plug-ins",
    writes="reports/inputs.json; hashes of unchanged files are kept in .finch/",
)
def inputs(context: Context) -> None:
    """Record the files that come from outside the pipeline.

    If the images change, `dvc repro` runs `prepare` again; if weights change, `finetune` or
    `distill`; if a plug-in of another package changes, the stage that uses it. Names and contents
    count, times of modification do not.
    """
    from finch_runtime.formats import format_of_suffix, readable_formats

    from pipeline.code_fingerprint import plugin_fingerprint, plugin_packages_fingerprint
    from pipeline.data.sources import source_files
    from pipeline.data.sources.folder_tree import is_system_name
    from pipeline.data.sources.unlabelled import unlabelled_files
    from pipeline.file_fingerprint import FileHashes
    from pipeline.files import write_json
    from pipeline.models.weights_files import weights_files
    from pipeline.plugins import LOSSES, RUNTIMES, SOURCES

    params, paths = context.params, context.paths
    teacher = params.finetune.networks(params.run.seed)
    order = params.distill.class_order.file
    orders = (Path(order),) if order else ()
    files = {
        "prepare": (*source_files(params.prepare), *unlabelled_files(params.prepare)),
        "finetune": tuple(dict.fromkeys(file for n in teacher for file in weights_files(n.recipe))),
        "distill": (*weights_files(params.distill), *orders),
        "qat": orders,
    }
    runtimes = [candidate.runtime for candidate in params.quantize.candidates]
    code = {
        "prepare": plugin_fingerprint(SOURCES[params.prepare.source]),
        "distill": plugin_fingerprint(LOSSES[params.distill.method]),
        "qat": plugin_fingerprint(LOSSES[params.distill.method]),
        "quantize": plugin_fingerprint(*(RUNTIMES[name] for name in runtimes)),
        "report": plugin_packages_fingerprint(),
    }
    facts = {}
    with FileHashes(paths.input_hashes) as hashes:
        for name in files | code:
            fact: dict[str, object] = {}
            if outside := files.get(name):
                found = hashes.fingerprint(outside, leave_out=is_system_name, track=track)
                fact |= {"files": found.files, "bytes": found.bytes, "sha256": found.sha256}
                formats = {format_of_suffix(suffix) for suffix in found.suffixes}
                if unread := formats - {None, *readable_formats()}:
                    fact["unread"] = sorted(
                        map(str, unread)
                    )  # until a package for them is installed
                context.log.info("%s reads %d files, %s", name, found.files, found.sha256[:12])
            if plugins := code.get(name):
                fact["plugins"] = plugins
            facts[name] = fact or None
    write_json(paths.inputs, facts)


if __name__ == "__main__":
    inputs()
