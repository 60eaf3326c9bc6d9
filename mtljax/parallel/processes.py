"""Several processes that work on one run: how they meet, and which rows are whose."""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

COORDINATOR, PROCESSES, PROCESS = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
"""Environment variables for the fields of `ProcessSpec`."""

_LONGEST = 2000  # bytes of a text that is gathered


class ProcessSpec(NamedTuple):
    """The place of this process among those of a run.

    Attributes:
      coordinator: ``HOST:PORT`` of process 0, where all meet.
      processes: how many there are.
      process: the number of this one, from 0.
    """

    coordinator: str
    processes: int
    process: int


def named_process(
    coordinator: str | None = None,
    processes: int = 0,
    process: int = -1,
    environ: Mapping[str, str] = os.environ,
) -> ProcessSpec | None:
    """The spec that is named, argument by argument or else by the environment.

    Args:
      coordinator: see `ProcessSpec`; None or empty for that of the environment.
      processes: 0 for that of the environment; 1 for no others, whatever else is named.
      process: -1 for that of the environment.
      environ: with `COORDINATOR`, `PROCESSES` and `PROCESS`.

    Returns:
      A spec, or None where nothing is named, or one process.

    Raises:
      ValueError: naming what is missing or out of range.

    >>> named_process("host:1234", 4, 1, {})
    ProcessSpec(coordinator='host:1234', processes=4, process=1)
    """
    if processes == 1:
        return None
    coordinator = coordinator or environ.get(COORDINATOR) or None
    processes = processes or _number(environ, PROCESSES, 0)
    process = _number(environ, PROCESS, -1) if process == -1 else process
    if coordinator is None:
        for name, given in (("processes", processes > 1), ("process", process >= 0)):
            if given:
                raise ValueError(f"{name}: needs a coordinator, HOST:PORT of process 0")
        return None
    if processes == 1:
        return None
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ValueError(f"coordinator {coordinator!r}: expected HOST:PORT")
    if processes < 1:
        raise ValueError("coordinator: needs the number of processes too")
    if not 0 <= process < processes:
        raise ValueError(f"process: must be from 0 to {processes - 1}, got {process}")
    return ProcessSpec(coordinator, processes, process)


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not text.isdigit():
        raise ValueError(f"{name} {text!r}: expected a number")
    return int(text)


def cluster(environ: Mapping[str, str] = os.environ) -> str:
    """What has started this process beside others, where `jax.distributed` can tell which.

    Returns:
      'slurm', 'mpi', 'kubernetes' or 'tpu'; empty where there seems to be one process.

    >>> cluster({"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_NTASKS": "2"})
    'slurm'
    """
    if environ.get("SLURM_STEP_NODELIST") and environ.get("SLURM_NTASKS", "1") != "1":
        return "slurm"
    if environ.get("OMPI_MCA_orte_hnp_uri") and environ.get("OMPI_COMM_WORLD_SIZE", "1") != "1":
        return "mpi"
    if environ.get("KUBERNETES_SERVICE_HOST") and environ.get("JOB_COMPLETION_INDEX"):
        return "kubernetes"
    workers = environ.get("TPU_PROCESS_ADDRESSES") or environ.get("TPU_WORKER_HOSTNAMES", "")
    # A TPU VM knows its neighbours from the metadata of the cloud, which JAX asks.
    if "," in workers or environ.get("TPU_PROCESS_ADDRESSES_PATH") or _on_tpu_vm(environ):
        return "tpu"
    return ""


def _on_tpu_vm(environ: Mapping[str, str]) -> bool:
    if environ.get("TPU_SKIP_MDS_QUERY") or environ.get("JAX_PLATFORMS", "tpu") != "tpu":
        return False
    return environ is os.environ and os.path.exists("/dev/accel0")


def initialize(spec: ProcessSpec | None, timeout: float) -> None:
    """Join the other processes; before anything else is asked of JAX.

    JAX ends the process where they do not come together in time.

    Args:
      spec: of this process; None to have JAX find it out from the `cluster`.
      timeout: seconds that are waited for the others.
    """
    seconds = max(1, round(timeout))
    waits: dict[str, Any] = {"initialization_timeout": seconds, "shutdown_timeout_seconds": 60}
    if spec is None:
        jax.distributed.initialize(**waits)
    else:
        jax.distributed.initialize(*spec, cluster_detection_method="deactivate", **waits)


def gather_texts(text: str) -> list[str]:
    """The texts of all processes, in their order; long ones are cut off.

    All have to call this. With one process, the text alone.
    """
    if jax.process_count() == 1:
        return [text]
    row = np.zeros(_LONGEST, np.uint8)
    data = np.frombuffer(text.encode("utf-8", "replace")[:_LONGEST], np.uint8)
    row[: len(data)] = data
    rows = multihost_utils.process_allgather(row)
    return [one.tobytes().rstrip(b"\0").decode("utf-8", "ignore") for one in rows]


class Share(NamedTuple):
    """The rows of every batch that a process has.

    Attributes:
      blocks: their numbers, in order.
      count: equal blocks that all rows are divided into.
    """

    blocks: tuple[int, ...] = (0,)
    count: int = 1


def own_share(mesh: Mesh, rows: P, process: int | None = None) -> Share:
    """The blocks of rows that lie on the devices of a process.

    Args:
      mesh: of all devices.
      rows: how the leading axis of a batch is split.
      process: its number; by default this one.
    """
    process = jax.process_index() if process is None else process
    sharding = NamedSharding(mesh, rows)
    count = _blocks(sharding)
    places = sharding.devices_indices_map((count,))
    own = {
        index[0].indices(count)[0]
        for device, index in places.items()
        if device.process_index == process
    }
    return Share(tuple(sorted(own)), count)


def _blocks(sharding: NamedSharding) -> int:
    # Of an axis that all devices can divide, each block has one index.
    whole = sharding.mesh.size
    return whole // sharding.shard_shape((whole,))[0]


def spread_rows(tree: Any, mesh: Mesh, rows: P, share: Share | None = None) -> Any:
    """Arrays of a batch as one array over all processes, their leading axis split.

    Args:
      tree: NumPy arrays.
      mesh: of all devices.
      rows: how the leading axis is split.
      share: which blocks of rows the arrays hold; None for all rows, the same in every process.

    Raises:
      ValueError: naming the first array whose rows cannot be divided.
    """
    sharding = NamedSharding(mesh, rows)
    held = len(share.blocks) if share is not None else _blocks(sharding)

    def of(path: Any, leaf: Any) -> jax.Array:
        leaf = np.asarray(leaf)
        if leaf.shape[0] % held:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise ValueError(f"{name}: {leaf.shape[0]} rows cannot be divided by {held}")
        if share is None:
            return jax.make_array_from_callback(leaf.shape, sharding, lambda index: leaf[index])
        size = leaf.shape[0] // held
        shape, blocks = (size * share.count, *leaf.shape[1:]), share.blocks

        def block(index: Any) -> np.ndarray:
            begin, end, _ = index[0].indices(shape[0])
            first = size * blocks.index(begin // size)
            return leaf[first : first + end - begin]

        return jax.make_array_from_callback(shape, sharding, block)

    return jax.tree_util.tree_map_with_path(of, tree)
