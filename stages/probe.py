"""Stage ``probe``: hardware and software of the devices, which measurements depend on."""

from dataclasses import asdict

from stages.command import Context, stage


@stage(reads="this machine and the other devices", writes="reports/hosts.json")
def probe(context: Context) -> None:
    """Record hardware and software of the devices in evaluate.devices.

    If one of them changes, `dvc repro` runs `evaluate` again.
    """
    from pipeline.files import write_json
    from pipeline.measure.devices.remote import open_device

    hosts = {}
    for listed in context.params.evaluate.devices:
        with open_device(listed) as device:
            host = device.describe()
        hosts[listed.name] = asdict(host)
        context.log.info("%s: %s, %d cores", listed.name, host.cpu, host.logical_cores)
    write_json(context.paths.reports / "hosts.json", hosts)


if __name__ == "__main__":
    probe()
