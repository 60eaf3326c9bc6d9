"""Shardings of parameters: rules from the logical names of their dimensions to axes of a mesh."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from mtljax.parallel.mesh import AXES, axes_size, present_axes

Tree = Any


class AxisRule(NamedTuple):
    """What becomes of a dimension of a parameter.

    Attributes:
      mesh_axis: the axis of the mesh that it is split over, where it divides; None for none.
      fsdp: whether FSDP may split it, where it is the largest dimension that divides.
    """

    mesh_axis: str | None
    fsdp: bool


AXIS_RULES: Mapping[str, AxisRule] = {
    # Tensor parallelism (Shoeybi et al., "Megatron-LM", 2019, section 3).
    "heads": AxisRule("model", fsdp=True),
    "feed_forward": AxisRule("model", fsdp=True),
    "vocabulary": AxisRule("model", fsdp=True),
    "embedding": AxisRule(None, fsdp=True),
    "features": AxisRule(None, fsdp=True),
    "qkv": AxisRule(None, fsdp=True),
    "head_features": AxisRule(None, fsdp=True),
    "table_rows": AxisRule(None, fsdp=True),
    "gates": AxisRule(None, fsdp=True),
    "dense": AxisRule(None, fsdp=True),
    "characters": AxisRule(None, fsdp=True),
    "character_features": AxisRule(None, fsdp=True),
    "filters": AxisRule(None, fsdp=True),
    # A loop takes stacked layers one by one: no layer may be on some of the devices alone.
    "layers": AxisRule(None, fsdp=False),
    # The heads of tasks are small, and few of the rows meet them: each device has them all.
    "task_head": AxisRule(None, fsdp=False),
}
"""By the logical name of a dimension. A parameter with a name that is not here is not covered."""


class ParameterSpecs(NamedTuple):
    """The shardings of some parameters.

    Attributes:
      specs: a `PartitionSpec` for each, as a tree like them.
      uncovered: paths of the parameters that no rule covers, which are replicated for want of one.
    """

    specs: Tree
    uncovered: tuple[str, ...]


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
    axes: Tree,
    mesh: Mesh,
    *,
    fsdp: Sequence[str] = (),
    rules: Sequence[tuple[str, P]] = (),
) -> ParameterSpecs:
    """The sharding of every parameter.

    A rule of the caller comes first. Otherwise each dimension is split as `AXIS_RULES` says of its
    logical name, and the largest other dimension that divides and that they leave to FSDP is split
    over the axes of `fsdp` together (Zhao et al., 2023).

    Args:
      params: a tree of arrays or of their shapes.
      axes: a tree like `params` of tuples, the logical names of each parameter's dimensions, as
        `mtljax.modules.logical_axes` returns it; None for a parameter that has none.
      mesh: with the axes `AXES`.
      fsdp: axes of the mesh that parameters are sharded over besides; none to replicate them there.
      rules: pairs of a regular expression, searched for in a path such as
        ``shared/transformer/layers/up/kernel``, and a spec; the first that is found counts.

    Returns:
      `ParameterSpecs`.

    Raises:
      ValueError: a rule that does not fit a parameter, or matches none; names that are not as many
        as a parameter's dimensions.

    >>> shapes = {"kernel": jax.ShapeDtypeStruct((4, 8), "float32")}
    >>> mesh = jax.sharding.AbstractMesh((1, 4, 2), AXES)
    >>> specs, _ = parameter_specs(
    ...     shapes, {"kernel": ("features", "feed_forward")}, mesh, fsdp=("data",)
    ... )
    >>> tuple(specs["kernel"])
    ('data', 'model')
    """
    used, uncovered = set(), []

    def spec_of(path: Any, leaf: Any, names: tuple[str, ...] | None) -> P:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        for index, (pattern, spec) in enumerate(rules):
            if re.search(pattern, name):
                used.add(index)
                _check_fit(pattern, spec, name, leaf.shape, mesh)
                return spec
        if names is None or not set(names) <= set(AXIS_RULES):
            uncovered.append(name)
            return P()
        if len(names) != len(leaf.shape):
            raise ValueError(f"{name}: has {len(leaf.shape)} dimensions, named {names}")
        return _from_names(names, leaf.shape, mesh, present_axes(mesh, fsdp))

    specs = jax.tree_util.tree_map_with_path(spec_of, params, axes)
    for index, (pattern, _) in enumerate(rules):
        earlier = [p for p, _ in rules[:index]]
        if index not in used and pattern not in earlier:
            raise ValueError(f"rule {pattern!r} is found in the path of no parameter")
    return ParameterSpecs(specs, tuple(uncovered))


def _from_names(
    names: tuple[str, ...], shape: tuple[int, ...], mesh: Mesh, fsdp: tuple[str, ...]
) -> P:
    rules = [AXIS_RULES[name] for name in names]
    entries: list[Any] = [None] * len(shape)
    for dim, rule in enumerate(rules):
        axis = rule.mesh_axis
        if axis and mesh.shape[axis] > 1 and shape[dim] % mesh.shape[axis] == 0:
            entries[dim] = axis
    if fsdp:
        free = [entry is None and rule.fsdp for entry, rule in zip(entries, rules, strict=True)]
        dim = largest_dimension(shape, axes_size(mesh, fsdp), free)
        if dim is not None:
            entries[dim] = fsdp[0] if len(fsdp) == 1 else fsdp
    while entries and entries[-1] is None:
        entries.pop()
    return P(*entries)


def largest_dimension(
    shape: Sequence[int], count: int, free: Sequence[bool] | None = None
) -> int | None:
    """The largest dimension that divides into `count` parts, or None; the last of equal ones.

    Args:
      shape: of the parameter.
      count: parts.
      free: which dimensions may be split; all by default.
    """
    fits = [
        dim
        for dim, size in enumerate(shape)
        if size and size % count == 0
        if free is None or free[dim]
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
