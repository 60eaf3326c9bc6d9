"""Several processes in one run: how they connect, and the rows of each batch that each has."""

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
    """What `jax.distributed` needs to connect this process to the others of a run.

    Attributes:
      coordinator: ``HOST:PORT`` of process 0, which all others connect to.
      processes: the number of processes.
      process: the index of this one, from 0.
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
    """The spec of this process from arguments, each of which the environment stands in for.

    Args:
      coordinator: see `ProcessSpec`; None or empty for that of the environment.
      processes: 0 for that of the environment; 1 for one process, whatever else is given.
      process: -1 for that of the environment.
      environ: with `COORDINATOR`, `PROCESSES` and `PROCESS`.

    Returns:
      A spec, or None where nothing is given, or one process.

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
        for name, is_set in (("processes", processes > 1), ("process", process >= 0)):
            if is_set:
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
    """The launcher of several processes whose settings `jax.distributed` reads by itself.

    Args:
      environ: environment variables.

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
    """Connects to the other processes; to be called before anything else of JAX.

    JAX ends the process where not all have connected in time.

    Args:
      spec: of this process; None to have JAX read it from the `cluster`.
      timeout: seconds to wait for the others.
    """
    seconds = max(1, round(timeout))
    timeouts: dict[str, Any] = {"initialization_timeout": seconds, "shutdown_timeout_seconds": 60}
    if spec is None:
        jax.distributed.initialize(**timeouts)
    else:
        jax.distributed.initialize(*spec, cluster_detection_method="deactivate", **timeouts)


def gather_texts(text: str) -> list[str]:
    """All-gathers a text; every process has to call this.

    Args:
      text: of this process; what is longer than 2000 bytes is truncated.

    Returns:
      The texts of all processes, in their order.
    """
    if jax.process_count() == 1:
        return [text]
    row = np.zeros(_LONGEST, np.uint8)
    data = np.frombuffer(text.encode("utf-8", "replace")[:_LONGEST], np.uint8)
    row[: len(data)] = data
    rows = multihost_utils.process_allgather(row)
    return [row.tobytes().rstrip(b"\0").decode("utf-8", "ignore") for row in rows]


class RowShare(NamedTuple):
    """The rows of every batch that a process has.

    Attributes:
      blocks: the indices of its blocks of rows, in order.
      count: the number of equal blocks that all rows are divided into.
    """

    blocks: tuple[int, ...] = (0,)
    count: int = 1


def process_share(mesh: Mesh, rows: P, process: int | None = None) -> RowShare:
    """The blocks of rows that are on the devices of a process.

    Args:
      mesh: of all devices.
      rows: how the leading axis of a batch is split.
      process: its index; by default that of this one.

    Returns:
      Its `RowShare`.
    """
    process = jax.process_index() if process is None else process
    sharding = NamedSharding(mesh, rows)
    count = _blocks(sharding)
    blocks = {
        index[0].indices(count)[0]
        for device, index in sharding.devices_indices_map((count,)).items()
        if device.process_index == process
    }
    return RowShare(tuple(sorted(blocks)), count)


def _blocks(sharding: NamedSharding) -> int:
    # An axis as long as there are devices divides, however it is split.
    length = sharding.mesh.size
    return length // sharding.shard_shape((length,))[0]


def global_rows(tree: Any, mesh: Mesh, rows: P, share: RowShare | None = None) -> Any:
    """Makes global arrays over all processes of a batch, their leading axis split.

    Args:
      tree: NumPy arrays.
      mesh: of all devices.
      rows: how the leading axis is split.
      share: which blocks of rows the arrays hold; None for all rows, the same in every process.

    Returns:
      A tree of global arrays.

    Raises:
      ValueError: naming the first array whose rows cannot be divided.
    """
    sharding = NamedSharding(mesh, rows)
    held = len(share.blocks) if share is not None else _blocks(sharding)

    def global_array(path: Any, leaf: Any) -> jax.Array:
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

    return jax.tree_util.tree_map_with_path(global_array, tree)
