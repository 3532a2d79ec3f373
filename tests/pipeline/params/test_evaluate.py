import pytest

from pipeline.params import Evaluate, load_params
from tests.pipeline.params.own_file import FILE, refusal

PI = "{name: pi, host: user@pi.local, port: 2222, python: ~/finch/bin/python}"


def test_only_this_machine_measures_by_default():
    assert [device.name for device in load_params(FILE).evaluate.devices] == ["local"]
    params = load_params(FILE, [f"evaluate.devices=[{{name: local}}, {PI}]", "bundle.device=pi"])
    pi = params.evaluate.devices[1]
    assert (pi.host, pi.port, pi.python, pi.folder) == (
        "user@pi.local",
        2222,
        "~/finch/bin/python",
        None,
    )


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        ("[{name: pi}]", "'pi' needs a host"),
        ("[{name: local, host: pi}]", "takes no host"),
        ("[{name: local, python: python3.12}]", "takes no python"),
        (f"[{{name: local}}, {PI}, {PI}]", "devices have the same name"),
        ("[{name: local}, {name: pi, host: -oProxyCommand=x}]", "evaluate.devices.1.host"),
        ("[{name: local}, {name: ../pi, host: pi}]", "evaluate.devices.1.name"),
        ("[{name: local}, {name: pi, host: pi, port: 0}]", "evaluate.devices.1.port"),
        (r'[{name: pi, host: "a\0b"}]', "evaluate.devices.0.host"),
        (r'[{name: pi, host: "a\eb"}]', "evaluate.devices.0.host"),
        (r'[{name: pi, host: pi, python: "py\0"}]', "evaluate.devices.0.python"),
        (r'[{name: pi, host: pi, python: "py\nthon"}]', "evaluate.devices.0.python"),
        (r'[{name: pi, host: pi, folder: "/a\0"}]', "evaluate.devices.0.folder"),
        ("[]", "evaluate.devices"),
    ],
)
def test_an_impossible_device_is_refused(devices, message):
    assert message in refusal(FILE, f"evaluate.devices={devices}")


def test_the_device_of_bundle_must_be_measured():
    message = refusal(FILE, "bundle.device=pi")
    assert "bundle.device 'pi' is not in evaluate.devices: local" in message
    assert "bundle.device 'local'" in refusal(FILE, f"evaluate.devices=[{PI}]")


@pytest.mark.parametrize("value", ["100000000000", "1e300", "[1000000]"])
def test_every_number_has_a_ceiling(value):
    is_list = value.startswith("[")
    for name, field in Evaluate.model_fields.items():
        if name != "devices" and (field.default_factory is list or name == "batches") == is_list:
            assert f"evaluate.{name}" in refusal(FILE, f"evaluate.{name}={value}")
