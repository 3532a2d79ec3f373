"""What this machine is, so that another machine's latency is never taken for its own."""

from dataclasses import asdict

from stages.command import Context, stage


@stage(reads="this machine", writes="reports/hosts.json")
def probe(context: Context) -> None:
    """Describe the machine that measures: stable facts only."""
    from pipeline.files import write_json
    from pipeline.measure.host import describe_host

    host = describe_host()
    write_json(context.place.reports / "hosts.json", {"local": asdict(host)})
    context.log.info("wrote reports/hosts.json: %s, %d cores", host.cpu, host.logical_cores)


if __name__ == "__main__":
    probe()
