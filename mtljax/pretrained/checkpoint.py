"""The tensors of a pretrained model: one file of safetensors, or several with an index."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mtljax.errors import UserError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")
_FLOATS = ("F64", "F32", "F16", "BF16")


class Checkpoint(NamedTuple):
    """Open files of tensors, which are read one by one.

    Attributes:
      directory: of the model.
      files: by name of a tensor, the open file that has it.
    """

    directory: Path
    files: dict[str, Any]

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, which is not read for it."""
        return tuple(self.files[name].get_slice(name).get_shape())

    def kind(self, name: str) -> str:
        """The kind of numbers of a tensor, as safetensors names it, such as F32."""
        return self.files[name].get_slice(name).get_dtype()

    def read(self, name: str) -> np.ndarray:
        """A tensor.

        Raises:
          UserError: if it is not of floating-point numbers.
        """
        kind = self.kind(name)
        if kind not in _FLOATS:
            raise UserError(
                f"pretrained model {self.directory}: tensor {name!r} is of {kind}; only "
                f"{', '.join(_FLOATS)} can be read"
            )
        return self.files[name].get_tensor(name)


def open_checkpoint(directory: Path) -> Checkpoint:
    """Open the tensors of a pretrained model; nothing but their headers is read.

    Raises:
      UserError: if there are none, they are pickled, or a file is missing, cut or damaged.
    """
    index = directory / INDEX
    if (directory / WEIGHTS).exists() or not index.exists():
        if not (directory / WEIGHTS).exists():
            raise UserError(_no_weights(directory))
        file = _open(directory / WEIGHTS)
        return Checkpoint(directory, dict.fromkeys(file.keys(), file))
    try:
        names: dict[str, str] = json.loads(index.read_bytes())["weight_map"]
        shards = sorted(set(names.values()))
    except OSError as error:
        raise UserError(f"{index}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{index}: cut short or damaged: no index of safetensors") from None
    for shard in shards:
        if Path(shard).name != shard or not (directory / shard).exists():
            raise UserError(
                f"pretrained model {directory}: {shard!r}, which its index names, is missing"
            )
    files = {shard: _open(directory / shard) for shard in shards}
    for name, shard in names.items():
        if name not in files[shard].keys():
            raise UserError(f"{directory / shard}: has no tensor {name!r}, which the index says")
    return Checkpoint(directory, {name: files[shard] for name, shard in names.items()})


def _open(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="np").__enter__()
    except SafetensorError as error:
        raise UserError(f"{path}: cut short or damaged: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None


def _no_weights(directory: Path) -> str:
    pickled = sorted(p.name for p in directory.iterdir() if p.suffix in _PICKLED)
    if not pickled:
        return f"pretrained model {directory}: has no {WEIGHTS}"
    return (
        f"pretrained model {directory}: has no {WEIGHTS}, and {pickled[0]} is not read, since it "
        "may run code; where transformers is installed, AutoModel.from_pretrained(DIR)"
        ".save_pretrained(NEW) converts it"
    )
