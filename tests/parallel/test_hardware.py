import importlib.util

import pytest

from mtljax.parallel import CHIPS, Topology, make_mesh, parse_topology, topology_devices

WITH_TPU_COMPILER = importlib.util.find_spec("libtpu") is not None


@pytest.mark.parametrize(
    "name, count", [("v4:2x2x4", 16), ("v5e:16x16", 256), ("v5p:4x4x8", 128), ("v6e:4x8", 32)]
)
def test_chips_of_a_topology(name, count):
    assert parse_topology(name) == Topology(name, count, CHIPS[name.split(":")[0]])


@pytest.mark.parametrize(
    "name", ["", "0", "-1", "8x8", "v5e", "v5e:16", "v5e:2x2x2", "v5p:2x2", "v9:2x2", "v5e:0x4"]
)
def test_an_unknown_topology_lists_those_there_are(name):
    with pytest.raises(ValueError, match=f"^topology '{name}': unknown; known are v4:AxBxC, v5e"):
        parse_topology(name)


def test_devices_of_this_host():
    (device,) = topology_devices(parse_topology("1"))
    assert device.platform == "cpu"
    with pytest.raises(ValueError, match=r"'64': this process has \d+ devices \(JAX_NUM_CPU"):
        topology_devices(parse_topology("64"))


@pytest.mark.skipif(WITH_TPU_COMPILER, reason="libtpu is installed")
def test_a_missing_compiler_names_the_extra():
    with pytest.raises(RuntimeError, match=r"'v5e:2x2': needs the TPU compiler, .* mtljax\[tpu\]"):
        topology_devices(parse_topology("v5e:2x2"))


@pytest.mark.skipif(not WITH_TPU_COMPILER, reason="the extra mtljax[tpu] (libtpu) is not installed")
@pytest.mark.parametrize("name, kind", [("v4:2x2x1", "TPU v4"), ("v5e:2x2", "TPU v5 lite")])
def test_devices_of_chips(name, kind):
    found = topology_devices(parse_topology(name))
    assert [device.device_kind for device in found] == [kind] * 4
    with pytest.raises(ValueError, match="^topology 'v5e:3x7': "):
        topology_devices(parse_topology("v5e:3x7"))


@pytest.mark.skipif(not WITH_TPU_COMPILER, reason="the extra mtljax[tpu] (libtpu) is not installed")
def test_a_mesh_of_parts_of_a_row_of_chips():
    mesh = make_mesh(8, 32, devices=topology_devices(parse_topology("v6e:16x16")))
    assert mesh.devices.shape == (8, 32, 1)
    assert len({device.id for device in mesh.devices.flat}) == 256
