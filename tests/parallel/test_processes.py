import dataclasses

import jax
import numpy as np
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from mtljax.parallel import make_mesh
from mtljax.parallel.processes import (
    ProcessSpec,
    RowShare,
    cluster,
    gather_texts,
    global_rows,
    named_process,
    process_share,
)

HERE = {
    "JAX_COORDINATOR_ADDRESS": "there:12",
    "JAX_NUM_PROCESSES": "4",
    "JAX_PROCESS_ID": "3",
}


@pytest.mark.parametrize(
    ("arguments", "environ", "spec"),
    [
        ((), {}, None),
        ((None, 1, -1), HERE, None),
        ((), HERE, ProcessSpec("there:12", 4, 3)),
        (("here:13", 8, 0), HERE, ProcessSpec("here:13", 8, 0)),
        (("[::1]:13", 2, 1), {}, ProcessSpec("[::1]:13", 2, 1)),
        ((), HERE | {"JAX_NUM_PROCESSES": "1", "JAX_PROCESS_ID": "0"}, None),
    ],
)
def test_seats(arguments, environ, spec):
    assert named_process(*arguments, environ=environ) == spec


@pytest.mark.parametrize(
    ("arguments", "environ", "message"),
    [
        ((None, 2), {}, "processes: needs a coordinator, HOST:PORT of process 0"),
        ((None, 0, 1), {}, "process: needs a coordinator, HOST:PORT of process 0"),
        (("here", 2, 0), {}, "coordinator 'here': expected HOST:PORT"),
        ((":1", 2, 0), {}, "coordinator ':1': expected HOST:PORT"),
        (("here:70000", 2, 0), {}, "coordinator 'here:70000': expected HOST:PORT"),
        (("here:1",), {}, "coordinator: needs the number of processes too"),
        (("here:1", -2, 0), {}, "coordinator: needs the number of processes too"),
        (("here:1", 2), {}, "process: must be from 0 to 1, got -1"),
        (("here:1", 2, 2), {}, "process: must be from 0 to 1, got 2"),
        ((), HERE | {"JAX_NUM_PROCESSES": "x"}, "JAX_NUM_PROCESSES 'x': expected a number"),
    ],
)
def test_what_is_no_seat(arguments, environ, message):
    with pytest.raises(ValueError) as error:
        named_process(*arguments, environ=environ)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, ""),
        ({"SLURM_STEP_NODELIST": "n1", "SLURM_NTASKS": "1"}, ""),
        ({"SLURM_NTASKS": "4"}, ""),  # in the batch script itself
        ({"SLURM_STEP_NODELIST": "n[1-2]", "SLURM_NTASKS": "4"}, "slurm"),
        ({"OMPI_MCA_orte_hnp_uri": "1.0;tcp://h:1", "OMPI_COMM_WORLD_SIZE": "2"}, "mpi"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, ""),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}, "kubernetes"),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, ""),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, "tpu"),
    ],
)
def test_clusters(environ, name):
    assert cluster(environ) == name


@dataclasses.dataclass(frozen=True)
class Device:
    """What a mesh asks of a device, of processes that are not there."""

    id: int
    process_index: int
    platform: str = "cpu"
    device_kind: str = "cpu"


def mesh_of(places):
    """A mesh of the axes task and data, and one device along the third."""
    places = np.asarray(places)
    devices = np.empty((*places.shape, 1), object)
    for number, index in enumerate(np.ndindex(places.shape)):
        devices[(*index, 0)] = Device(number, int(places[index]))
    return Mesh(devices, ("task", "data", "model"))


@pytest.mark.parametrize(
    ("places", "rows", "blocks"),
    [
        ([[0, 0, 1, 1]], P("data"), [(0, 1), (2, 3)]),
        # A ring of chips, whose hosts are not beside each other.
        ([[0, 1, 1, 0]], P("data"), [(0, 3), (1, 2)]),
        ([[0, 0], [1, 1]], P(("task", "data")), [(0, 1), (2, 3)]),
        # Tasks on groups of devices: both processes read all rows.
        ([[0, 0], [1, 1]], P("data"), [(0, 1), (0, 1)]),
        ([[0, 1], [0, 1]], P("data"), [(0,), (1,)]),
        ([[0, 1]], P(), [(0,), (0,)]),
    ],
)
def test_whose_rows(places, rows, blocks):
    mesh = mesh_of(places)
    shares = [process_share(mesh, rows, process) for process in (0, 1)]
    assert [share.blocks for share in shares] == blocks
    assert {share.count for share in shares} == {max(map(max, blocks)) + 1}


def test_rows_of_one_process():
    mesh = make_mesh()
    assert process_share(mesh, P("data")) == RowShare()
    batch = {"tokens": np.arange(6).reshape(3, 2)}
    for share in (None, RowShare()):
        found = global_rows(batch, mesh, P("data"), share)["tokens"]
        assert isinstance(found, jax.Array)
        np.testing.assert_array_equal(found, batch["tokens"])
    assert gather_texts("one") == ["one"]


def test_rows_on_eight_devices(on_eight_devices):
    printed = on_eight_devices("""
import numpy as np
from jax.sharding import PartitionSpec as P
from mtljax.parallel import make_mesh, shard_rows
from mtljax.parallel.processes import process_share, global_rows
mesh = make_mesh(task=2, data=4)
batch = {"tokens": np.arange(16).reshape(8, 2)}
for rows in (P("data"), P(("task", "data")), P()):
    share = process_share(mesh, rows)
    expected = shard_rows(batch, mesh, rows)["tokens"]
    for given in (None, share):
        found = global_rows(batch, mesh, rows, given)["tokens"]
        assert found.sharding.is_equivalent_to(expected.sharding, 2)
        for one, other in zip(found.addressable_shards, expected.addressable_shards):
            np.testing.assert_array_equal(one.data, other.data)
    print(share.count)
try:
    global_rows({"tokens": np.zeros((6, 2))}, mesh, P("data"), None)
except ValueError as error:
    print(error)
""")
    assert printed.splitlines() == ["4", "8", "1", "tokens: 6 rows cannot be divided by 4"]
