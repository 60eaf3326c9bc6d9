"""Finds the tensors that a family names among those of a file."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mtljax.errors import UserError
from mtljax.pretrained.checkpoint import Checkpoint
from mtljax.pretrained.name_map import Entry, NameMap
from mtljax.pretrained.report import LoadReport, Read

Found = Mapping[tuple[str, str], str]
"""By path of a parameter and name in the map (with its layer), the name in the file."""


class Matched(NamedTuple):
    """Which tensors are to be read.

    Attributes:
      entries: of the encoder.
      pooler: of the pooler; empty where the file has none.
      output: of the output table; empty where it is tied, or the file has none.
      decoder: of the decoder; empty where the model has none.
      names: from a name in the map to that in the file.
      report: what becomes of every tensor.
    """

    entries: tuple[Entry, ...]
    pooler: tuple[Entry, ...]
    output: tuple[Entry, ...]
    decoder: tuple[Entry, ...]
    names: Mapping[str, str]
    report: LoadReport


def match(
    checkpoint: Checkpoint,
    name_map: NameMap,
    layers: int,
    family: str,
    shapes: Mapping[str, Sequence[int]],
) -> Matched:
    """Find the tensors of a model, and check their shapes.

    Names may have any prefix, and norms their old names ``gamma`` and ``beta``.

    Args:
      checkpoint: the open files.
      name_map: of the family.
      layers: number of layers.
      family: what the configuration calls it.
      shapes: of the parameters by path, stacked over the layers; those of pooler and output too.

    Returns:
      `Matched`.

    Raises:
      UserError: if a tensor is missing or of another shape; names it.
    """
    present = {_current(name): name for name in checkpoint.files}
    prefix = _prefix(present, name_map.anchor, checkpoint.directory)
    names: dict[str, str] = {}
    read: list[Read] = []
    missing: list[tuple[str, str]] = []

    def find(entry: Entry, *, optional: bool = False) -> bool:
        wanted = [
            (layer, template.format(layer))
            for template in entry.names
            for layer in (range(entry.first_layer, layers) if entry.stacked else (0,))
        ]
        for _, name in wanted:
            # Heads have no prefix where the encoder has one.
            key = next((key for key in (prefix + name, name) if key in present), None)
            if key is None:
                if optional:
                    return False
                raise UserError(
                    f"pretrained model {checkpoint.directory}: tensor {prefix + name!r} is missing"
                )
            names[name] = present[key]
        read.extend(Read(names[name], entry.path, entry.how()) for _, name in wanted)
        if entry.first_layer:
            missing.append((entry.path, f"ones, not read, before layer {entry.first_layer}"))
        return True

    for entry in (*name_map.entries, *name_map.decoder):
        find(entry)
    pooler = _all_or_none(find, name_map.pooler)
    output = _all_or_none(find, name_map.output)
    for entry in (*name_map.entries, *name_map.decoder, *pooler, *output):
        shape = shapes[entry.path][1:] if entry.stacked else shapes[entry.path]
        expected = entry.tensor_shape(shape)
        for template in entry.names:
            for layer in range(entry.first_layer, layers) if entry.stacked else (0,):
                name = names[template.format(layer)]
                if checkpoint.shape(name) != expected:
                    raise UserError(
                        f"pretrained model {checkpoint.directory}: tensor {name!r} has shape "
                        f"{list(checkpoint.shape(name))}, the configuration wants {list(expected)}"
                    )
    rest = [name for name in checkpoint.files if name not in set(names.values())]
    report = _report(rest, name_map, family, prefix, read, missing)
    return Matched(name_map.entries, pooler, output, name_map.decoder, names, report)


def _all_or_none(find, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    return entries if entries and all(find(entry, optional=True) for entry in entries) else ()


def _current(name: str) -> str:
    """The name of today of a tensor of a norm."""
    head, _, last = name.rpartition(".")
    renamed = {"gamma": "weight", "beta": "bias"}.get(last)
    return f"{head}.{renamed}" if renamed and "norm" in head.lower() else name


def _prefix(present: Mapping[str, str], anchor: str, directory: Path) -> str:
    ends = [name for name in present if name == anchor or name.endswith(f".{anchor}")]
    if not ends:
        raise UserError(f"pretrained model {directory}: tensor {anchor!r} is missing")
    return min(ends, key=len).removesuffix(anchor)


def _report(
    rest: Sequence[str],
    name_map: NameMap,
    family: str,
    prefix: str,
    read: Sequence[Read],
    missing: Sequence[tuple[str, str]],
) -> LoadReport:
    tied, left, unexpected = [], [], []
    for name in rest:
        current = _current(name)
        why = [x.why for x in name_map.left if re.fullmatch(x.pattern, current)]
        if current in name_map.tied:
            tied.append(name)
        elif why:
            left.append((name, why[0]))
        else:
            unexpected.append(name)
    return LoadReport(
        family, prefix, tuple(read), tuple(tied), tuple(left), tuple(unexpected), tuple(missing)
    )
