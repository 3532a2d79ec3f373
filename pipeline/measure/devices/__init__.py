"""Where models are measured: this machine, and any machine that OpenSSH leads to."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.measure.devices.connection import connect
from pipeline.measure.devices.device import Device
from pipeline.measure.devices.local import ThisMachine
from pipeline.measure.devices.remote import RemoteDevice
from pipeline.params import ListedDevice

__all__ = ["Device", "open_device"]


@contextmanager
def open_device(listed: ListedDevice) -> Iterator[Device]:
    """Gives a device to measure on.

    What was copied there is removed at the end. After an error it stays, for the next attempt.

    Raises:
        DeviceError: It cannot be reached, or has no Python that will do.
    """
    if listed.host is None:
        yield ThisMachine()
        return
    with connect(listed.name, listed.host, listed.port) as connection:
        device = RemoteDevice(listed, connection)
        yield device
        device.clear()
