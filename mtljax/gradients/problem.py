"""What is differentiated: an encoder, a head a task, and a batch an input group."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Encode = Callable[..., Any]
Head = Callable[..., Any]

_SMALL = 2**16
"""Numbers of a head's array that may be copied."""


class Examples(NamedTuple):
    """The batch of an input group, which is encoded once for all of its tasks.

    Attributes:
      inputs: a tree of arrays ``[B, ...]``.
      targets: by task, whatever its head reads besides the features.
    """

    inputs: Any
    targets: Mapping[str, Any]


class Unbatched(NamedTuple):
    """Marks a part of the features that has no batch axis, such as a tied word table.

    A head finds it as it left the encoder: ``features.table.value``.
    """

    value: Any


class Problem(NamedTuple):
    """The arguments of `task_gradients`, checked.

    Attributes:
      encode: by input group.
      heads: by task, in the order of the losses.
      shared: parameters of the encoder.
      head_params: by task.
      batch: `Examples` by input group.
      key: of the step, or None.
      specs: by input group, what `encode` returns.
    """

    encode: Mapping[str, Encode]
    heads: Mapping[str, Head]
    shared: Any
    head_params: Mapping[str, Any]
    batch: Mapping[str, Examples]
    key: jax.Array | None
    specs: Mapping[str, "FeatureSpec"]


class FeatureSpec(NamedTuple):
    """The tree of an encoder's features.

    Attributes:
      structure: of the tree.
      floating: of each leaf, whether it is differentiated.
      batched: of each leaf, whether it has a batch axis.
      shapes: of each leaf, with its dtype.
    """

    structure: Any
    floating: tuple[bool, ...]
    batched: tuple[bool, ...]
    shapes: tuple[jax.ShapeDtypeStruct, ...]


def make_problem(
    encode: Encode | Mapping[str, Encode],
    heads: Mapping[str, Head],
    shared: Any,
    head_params: Mapping[str, Any],
    batch: Mapping[str, Examples],
    key: jax.Array | None,
) -> Problem:
    """Checks that names and shapes fit.

    Raises:
      ValueError: tasks or groups of the arguments differ, a task is in two groups, features have no
        batch axis. The message names the tasks and shapes.
    """
    # By name, as jit hands dictionaries on: the same keys for the same groups with and without it.
    batch = {name: Examples(*batch[name]) for name in sorted(batch)}
    owners: dict[str, str] = {}
    for name, examples in batch.items():
        if not examples.targets:
            raise ValueError(f"batch: input group {name!r} has no task")
        for task in examples.targets:
            if task in owners:
                raise ValueError(f"batch: task {task!r} is in groups {owners[task]!r} and {name!r}")
            owners[task] = name
    if not heads:
        raise ValueError("heads: no tasks")
    _check_names("batch", owners, "heads", heads)
    _check_names("head_params", head_params, "heads", heads)
    if isinstance(encode, Mapping):
        _check_names("batch", batch, "encode", encode, "input groups")
        by_group = {name: encode[name] for name in batch}
    else:
        by_group = dict.fromkeys(batch, encode)
    problem = Problem(by_group, heads, shared, head_params, batch, key, {})
    return problem._replace(specs={name: _feature_spec(problem, name) for name in batch})


def _check_names(what: str, found: Any, other: str, expected: Any, kind: str = "tasks") -> None:
    if set(found) != set(expected):
        raise ValueError(
            f"{kind} of {what} {sorted(found)} differ from those of {other} {sorted(expected)}"
        )


def _feature_spec(problem: Problem, name: str) -> FeatureSpec:
    inputs = problem.batch[name].inputs
    if problem.key is None:
        out = jax.eval_shape(problem.encode[name], problem.shared, inputs)
    else:
        out = jax.eval_shape(problem.encode[name], problem.shared, inputs, problem.key)
    sizes = {leaf.shape[0] if leaf.shape else None for leaf in map(jnp.asarray, leaves_of(inputs))}
    shapes, batched = [], []
    marked, _ = jax.tree.flatten(out, is_leaf=lambda node: isinstance(node, Unbatched))
    for node in marked:
        for leaf in jax.tree.leaves(node):
            shapes.append(leaf)
            batched.append(not isinstance(node, Unbatched))
            if batched[-1] and (not leaf.shape or leaf.shape[0] not in sizes):
                tasks = ", ".join(map(repr, problem.batch[name].targets))
                raise ValueError(
                    f"features of input group {name!r} (tasks {tasks}): the leading axis of "
                    f"{leaf.shape} is not the batch of the inputs, whose shapes are "
                    f"{[jnp.shape(x) for x in leaves_of(inputs)]}; mark what has no batch axis "
                    "as Unbatched"
                )
    floating = tuple(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in shapes)
    return FeatureSpec(jax.tree.structure(out), floating, tuple(batched), tuple(shapes))


def leaves_of(tree: Any) -> list[Any]:
    """The leaves of a tree."""
    return jax.tree.leaves(tree)


def stacked(trees: list[Any]) -> Any:
    """Trees of equal shapes as one, with a leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def stacked_params(trees: list[Any]) -> Any:
    """`stacked`, so that the gradient of each tree is made apart from whatever reads it."""
    return stacked([jax.tree.map(_apart, tree) for tree in trees])


def unstacked(tree: Any, names: list[str]) -> dict[str, Any]:
    """The rows of a tree with a leading axis, by name."""
    return {
        name: jax.tree.map(lambda leaf, i=i: _apart(leaf[i]), tree) for i, name in enumerate(names)
    }


def _apart(leaf: Any) -> jax.Array:
    # XLA would cut a row out anew in whatever reads it, and compile that once for each task. The
    # same holds for gradients that come back through a stack. A copy of a large one costs more.
    leaf = jnp.asarray(leaf)
    return jax.lax.optimization_barrier(leaf) if leaf.size <= _SMALL else leaf


def group_key(problem: Problem, place: Any) -> jax.Array | None:
    """The key of the encoder for the group at this place; None without one."""
    return None if problem.key is None else jax.random.fold_in(problem.key, place)


def task_key(problem: Problem, place: Any) -> jax.Array | None:
    """The key of the head at this place; None without one."""
    if problem.key is None:
        return None
    return jax.random.fold_in(problem.key, len(problem.batch) + place)


def encoded(
    problem: Problem, name: str, shared: Any, inputs: Any, key: jax.Array | None
) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
    """The features of a group: leaves that are differentiated, and the others."""
    function = problem.encode[name]
    out = function(shared, inputs) if key is None else function(shared, inputs, key)
    leaves, flags = leaves_of(out), problem.specs[name].floating
    pairs = list(zip(leaves, flags, strict=True))
    return tuple(x for x, yes in pairs if yes), tuple(x for x, yes in pairs if not yes)


def joined(spec: FeatureSpec, floating: Any, others: Any) -> Any:
    """The features again, of what `encoded` returned."""
    first, second = iter(floating), iter(others)
    return spec.structure.unflatten([next(first if yes else second) for yes in spec.floating])


def head_loss(
    problem: Problem,
    group: str,
    task: str,
    params: Any,
    floating: Any,
    others: Any,
    targets: Any,
    key: jax.Array | None,
) -> jax.Array:
    """A task's loss on the features of its group, as `encoded` returns them.

    Raises:
      ValueError: the head returns no scalar of floating point.
    """
    features = joined(problem.specs[group], floating, others)
    last = () if key is None else (key,)
    loss = problem.heads[task](params, features, targets, *last)
    if not jax.tree_util.all_leaves([loss]):
        raise ValueError(
            f"head of task {task!r} must return a scalar loss, got {type(loss).__name__}"
        )
    shape, dtype = jnp.shape(loss), jnp.result_type(loss)
    if shape or not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(
            f"head of task {task!r} must return a scalar loss of floating point, got {dtype} of "
            f"shape {shape}"
        )
    return jnp.asarray(loss, jnp.promote_types(dtype, jnp.float32))


def head_gradients(
    problem: Problem,
    group: str,
    task: str,
    params: Any,
    floating: Any,
    others: Any,
    targets: Any,
    key: jax.Array | None,
) -> tuple[jax.Array, Any, Any]:
    """A task's loss, and its gradients with respect to its head and to the features.

    Returns:
      A scalar, a tree like `params`, a tuple like `floating`.
    """
    # Each head by itself: a gradient that is not finite stays with its task.
    loss, (own, slope) = jax.value_and_grad(
        lambda params, floating: head_loss(
            problem, group, task, params, floating, others, targets, key
        ),
        argnums=(0, 1),
    )(params, floating)
    return loss, own, slope
