"""Which part of a parameter lies on which device: rules from its path and shape."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from mtljax.parallel.mesh import AXES, axes_size, present_axes

Tree = Any

LOGICAL: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    (r"layers/qkv/kernel$", ("layers", "features", None, "heads", None)),
    (r"layers/qkv/bias$", ("layers", None, "heads", None)),
    (r"layers/out/kernel$", ("layers", "heads", None, "features")),
    (r"layers/up/kernel$", ("layers", "features", "feed_forward")),
    (r"layers/up/bias$", ("layers", "feed_forward")),
    (r"layers/down/kernel$", ("layers", "feed_forward", "features")),
    (r"(^|/)layers/", ("layers",)),
    (r"embedding/(words|affixes)$", ("vocabulary", "features")),
    (r"linear/ngrams_\d+$", ("vocabulary", "features")),
)
"""Logical axes of the parameters that have any, by a regular expression for their path."""

UNSPREAD = r"^heads/"
"""Parameters that FSDP leaves whole: small ones, which few of the rows meet."""

MESH_AXES: Mapping[str, str] = {"heads": "model", "feed_forward": "model", "vocabulary": "model"}
"""Mesh axes of the logical ones; the others are not split, but for FSDP."""


def parse_rule(text: str) -> tuple[str, P]:
    """A rule as it is written in a configuration: ``REGEX=AXES``.

    Raises:
      ValueError: naming the rule and what is wrong with it.

    >>> pattern, spec = parse_rule("embedding/words=data+model,-")
    >>> pattern, tuple(spec)
    ('embedding/words', (('data', 'model'), None))
    """
    pattern, equals, axes = text.rpartition("=")
    if not equals:
        raise ValueError(f"rule {text!r}: expected REGEX=AXES")
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"rule {text!r}: no regular expression ({error})") from None
    entries: list[Any] = []
    for entry in axes.split(",") if axes else ():
        names = tuple(name.strip() for name in entry.split("+"))
        if names in (("-",), ("",)):
            entries.append(None)
            continue
        for name in names:
            if name not in AXES:
                raise ValueError(f"rule {text!r}: no axis {name!r}; there are {', '.join(AXES)}")
        entries.append(names[0] if len(names) == 1 else names)
    return pattern, P(*entries)


def parameter_specs(
    params: Tree,
    mesh: Mesh,
    *,
    spread: Sequence[str] = (),
    rules: Sequence[tuple[str, P]] = (),
) -> Tree:
    """The sharding of every parameter, as a `PartitionSpec`.

    A rule of the caller comes first. Otherwise heads, feed-forward features and vocabulary are
    split over the axis ``model`` where they divide (Shoeybi et al., "Megatron-LM", 2019), and the
    largest other dimension that divides is split over the axes of `spread` together (FSDP; Zhao et
    al., 2023), but not the dimension that layers are stacked along, and not in heads.

    Args:
      params: a tree of arrays or of their shapes.
      mesh: with the axes `AXES`.
      spread: axes that parameters are spread over besides; none to replicate them there.
      rules: pairs of a regular expression, searched for in a path such as
        ``shared/transformer/layers/up/kernel``, and a spec; the first that is found counts.

    Returns:
      A tree like `params`.

    Raises:
      ValueError: a rule that does not fit a parameter, or matches none.
    """
    used = set()

    def of(path: Any, leaf: Any) -> P:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        for place, (pattern, spec) in enumerate(rules):
            if re.search(pattern, name):
                used.add(place)
                _check_fit(pattern, spec, name, leaf.shape, mesh)
                return spec
        return _default(name, leaf.shape, mesh, present_axes(mesh, spread))

    specs = jax.tree_util.tree_map_with_path(of, params)
    for place, (pattern, _) in enumerate(rules):
        earlier = [p for p, _ in rules[:place]]
        if place not in used and pattern not in earlier:
            raise ValueError(f"rule {pattern!r} is found in the path of no parameter")
    return specs


def _default(name: str, shape: tuple[int, ...], mesh: Mesh, spread: tuple[str, ...]) -> P:
    logical: tuple[str | None, ...] = ()
    for pattern, axes in LOGICAL:
        if re.search(pattern, name):
            logical = axes
            break
    logical = (*logical, *(None,) * (len(shape) - len(logical)))[: len(shape)]
    entries: list[Any] = [None] * len(shape)
    for dim, axis in enumerate(logical):
        split = MESH_AXES.get(axis or "")
        if split and mesh.shape[split] > 1 and shape[dim] % mesh.shape[split] == 0:
            entries[dim] = split
    if spread and not re.search(UNSPREAD, name):
        count = axes_size(mesh, spread)
        dim = largest_dimension(shape, count, [e is None for e in entries], logical)
        if dim is not None:
            entries[dim] = spread[0] if len(spread) == 1 else spread
    while entries and entries[-1] is None:
        entries.pop()
    return P(*entries)


def largest_dimension(
    shape: Sequence[int],
    count: int,
    free: Sequence[bool] | None = None,
    logical: Sequence[str | None] | None = None,
) -> int | None:
    """The largest dimension that divides into `count` parts, or None; the last of equal ones.

    Args:
      shape: of the parameter.
      count: parts.
      free: which dimensions may be split; all by default.
      logical: names of the dimensions; one of stacked layers is not split.
    """
    fits = [
        dim
        for dim, size in enumerate(shape)
        if size and size % count == 0
        if free is None or free[dim]
        if logical is None or logical[dim] != "layers"
    ]
    return max(fits, key=lambda dim: (shape[dim], dim), default=None)


def _check_fit(pattern: str, spec: P, name: str, shape: tuple[int, ...], mesh: Mesh) -> None:
    if len(spec) > len(shape):
        raise ValueError(f"rule {pattern!r}: {name} has {len(shape)} dimensions, not {len(spec)}")
    for size, entry in zip(shape, spec, strict=False):
        axes = () if entry is None else (entry,) if isinstance(entry, str) else tuple(entry)
        if size % axes_size(mesh, axes):
            raise ValueError(
                f"rule {pattern!r}: {name} has shape {shape}, which {'+'.join(axes)} "
                f"({axes_size(mesh, axes)} devices) does not divide"
            )


def follow(state: Tree, params: Tree, specs: Tree) -> Tree:
    """The specs of a state whose leaves belong to parameters: moments, averages, rows a task.

    A leaf belongs to the parameter whose path its own path ends in, with or without its first key,
    if it has its shape, or this with one axis in front, of tasks. The others are replicated.

    Args:
      state: a tree of arrays or of their shapes.
      params: the parameters, or their shapes.
      specs: of the parameters, from `parameter_specs`.

    Returns:
      A tree of specs like `state`.
    """
    known: dict[tuple[str, ...], tuple[tuple[int, ...], P]] = {}
    leaves = jax.tree.leaves(specs, is_leaf=lambda node: isinstance(node, P))
    for (path, leaf), spec in zip(jax.tree_util.tree_leaves_with_path(params), leaves, strict=True):
        keys = _keys(path)
        for ending in (keys, keys[1:]):
            if ending:
                known.setdefault(ending, (leaf.shape, spec))

    def of(path: Any, leaf: Any) -> P:
        keys = _keys(path)
        for start in range(len(keys)):
            found = known.get(keys[start:])
            if found is None:
                continue
            shape, spec = found
            if leaf.shape == shape:
                return spec
            if leaf.shape[1:] == shape:
                return P(None, *spec) if spec else spec
        return P()

    return jax.tree_util.tree_map_with_path(of, state)


def _keys(path: Any) -> tuple[str, ...]:
    return tuple(jax.tree_util.keystr((key,), simple=True) for key in path)


def shardings(specs: Tree, mesh: Mesh) -> Tree:
    """Specs with their mesh, as `jax.jit` and `jax.device_put` want them."""
    return jax.tree.map(
        lambda spec: NamedSharding(mesh, spec), specs, is_leaf=lambda node: isinstance(node, P)
    )
