"""Command ``replay``: selects a candidate from recorded measurements."""

import json
from pathlib import Path

import click

from stages.command import Context, json_option, stage
from stages.console import echo


@stage(
    reads="RECORDING, a reports/evaluations/<device>.json of any run",
    writes="nothing; prints to standard output",
    exclusive=False,
    log_file=False,
    options=[
        click.Argument(["recording"], type=click.Path(path_type=Path)),
        json_option("Print {device, chosen, reason, verdicts, verdict}."),
    ],
)
def replay(context: Context, recording: Path, as_json: bool) -> None:
    """Select a candidate from recorded measurements.

    Prints the reasons and the verdict. The rule is the section `bundle` of the parameters. It can
    be changed with --set, for example `--set bundle.max_model_mb=1`. Recordings of earlier versions
    have no verdict.
    """
    from dataclasses import asdict

    from pipeline.measure.evaluation import read_evaluation
    from pipeline.shipping.quality import judge
    from pipeline.shipping.select import select_candidate

    evaluation, rule = read_evaluation(recording), context.params.bundle
    selection = select_candidate(evaluation, rule)
    is_judged = evaluation.class_images is not None
    verdict = judge(evaluation, selection.chosen, rule) if is_judged else None
    if as_json:
        facts = {"device": evaluation.device, **asdict(selection)}
        facts["verdict"] = asdict(verdict) if verdict else None
        echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    echo(f"measured on {evaluation.device}, {evaluation.rounds} rounds:")
    for each in selection.verdicts:
        echo(f"{each.name:18} {each.status}: {each.reason}")
    if verdict:
        echo(f"verdict on {selection.chosen}: {verdict.level}")
        for reason in verdict.reasons:
            echo(f"{reason.level}: {reason}")


if __name__ == "__main__":
    replay()
