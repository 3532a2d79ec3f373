"""Stage ``probe``: hardware and software of the devices, which measurements depend on."""

from dataclasses import asdict

from stages.command import Context, stage


@stage(reads="this machine and the other devices", writes="reports/hosts.json")
def probe(context: Context) -> None:
    """Record hardware and software of the devices.

    If a device in evaluate.devices changes, `dvc repro` runs `evaluate` again. A device that cannot
    be used is recorded with the reason, and is not measured.
    """
    from finch_runtime.errors import printable

    from pipeline.errors import DeviceError
    from pipeline.files import write_json
    from pipeline.measure.devices.remote import open_device
    from pipeline.measure.host import Host, Unreachable

    hosts: dict[str, Host | Unreachable] = {}
    for listed in context.params.evaluate.devices:
        try:
            with open_device(listed) as device:
                host = device.describe()
        except DeviceError as error:
            hosts[listed.name] = Unreachable(printable(error.problem))
            context.log.warning("%s; it will not be measured", error)
        else:
            hosts[listed.name] = host
            context.log.info("%s: %s, %d cores", listed.name, host.cpu, host.logical_cores)
    facts = {name: asdict(host) for name, host in hosts.items()}
    write_json(context.paths.reports / "hosts.json", facts)


if __name__ == "__main__":
    probe()
