"""Command ``replay``: selects a candidate from recorded measurements."""

from pathlib import Path

import click

from stages.command import Context, stage
from stages.console import echo


@stage(
    reads="RECORDING, a reports/evaluations/<device>.json of any run",
    writes="nothing; prints to standard output",
    exclusive=False,
    options=[click.Argument(["recording"], type=click.Path(path_type=Path))],
)
def replay(context: Context, recording: Path) -> None:
    """Select a candidate from recorded measurements and print the reasons.

    The rule is the section `bundle` of the parameters. It can be changed with --set, for example
    `--set bundle.max_model_mb=1`.
    """
    from pipeline.measure.evaluation import read_evaluation
    from pipeline.shipping.select import select_candidate

    evaluation = read_evaluation(recording)
    selection = select_candidate(evaluation, context.params.bundle)
    echo(f"measured on {evaluation.device}, {evaluation.rounds} rounds:")
    for verdict in selection.verdicts:
        echo(f"{verdict.name:18} {verdict.status}: {verdict.reason}")


if __name__ == "__main__":
    replay()
