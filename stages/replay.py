"""What would ship by measurements that were recorded."""

from pathlib import Path

import click

from stages.command import Context, stage


@stage(
    reads="RECORDING, a reports/evaluations/<device>.json of any run",
    writes="nothing; what would ship goes to the standard output",
    resumable=True,
    takes=[click.Argument(["recording"], type=click.Path(path_type=Path))],
)
def replay(context: Context, recording: Path) -> None:
    """Say what would ship by measurements that were recorded, and why the others would not.

    The rule is the section `bundle` of the parameters: try `--set bundle.max_model_mb=1`.
    """
    from pipeline.measure.evaluation import read_evaluation
    from pipeline.shipping.choice import choose

    evaluation = read_evaluation(recording)
    selection = choose(evaluation, context.params.bundle)
    click.echo(f"measured on {evaluation.device}, {evaluation.rounds} rounds:")
    for verdict in selection.verdicts:
        click.echo(f"{verdict.name:18} {verdict.status}: {verdict.reason}")


if __name__ == "__main__":
    replay()
