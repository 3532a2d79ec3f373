"""Command ``status``: what ``dvc repro`` would run, and why."""

from __future__ import annotations

import json
from dataclasses import asdict

from stages.command import Context, json_option, stage
from stages.console import echo

_SHOWN = 3


@stage(
    reads="params.yaml, dvc.yaml, dvc.lock, and all inputs and outputs of the stages",
    writes="nothing; prints to standard output",
    exclusive=False,
    log_file=False,
    options=[json_option("Print a list of {name, state, reasons}.")],
)
def status(context: Context, as_json: bool) -> None:
    """Show which stages `dvc repro` would run, and why.

    A stage is `stale` if its parameters, code, inputs or outputs have changed since its last run;
    it `follows` if a stage before it runs. A stage with the state `check` always runs: changed
    images, weights and devices show after `finch inputs` and `finch probe`.
    """
    from stages.staleness import read_states

    states = read_states(context.paths.root, context.params.model_dump())
    if as_json:
        echo(json.dumps([asdict(state) for state in states], indent=2, ensure_ascii=False))
        return
    for state in states:
        shown = "; ".join(state.reasons[:_SHOWN])
        more = len(state.reasons) - _SHOWN
        rest = f"; and {more} more" if more > 0 else ""
        echo(f"{state.name:13} {state.state:8} {shown}{rest}".rstrip())
    pending = [state.name for state in states if state.state in ("stale", "follows")]
    todo = f"`dvc repro` runs {', '.join(pending)}" if pending else "nothing to run"
    echo(f"{len(states) - len(pending)} of {len(states)} stages are up to date; {todo}")


if __name__ == "__main__":
    status()
