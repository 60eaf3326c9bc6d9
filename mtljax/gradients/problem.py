"""The problem that per-task gradients are of: one encoder, a head per task, a batch per group."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtljax.gradients.draws_by_row import DrawsByRow
from mtljax.gradients.feature_spec import FeatureSpec, join_features, split_features
from mtljax.gradients.own_params import OwnParams, head_of, private_of

Encode = Callable[..., Any]
Head = Callable[..., Any]

_MAX_COPIED_SIZE = 2**16
"""Elements of the largest array of a head's parameters that is copied; see `_materialized`."""


class Examples(NamedTuple):
    """The batch of an input group, which is encoded once for all of its tasks.

    Attributes:
      inputs: what the encoder reads, a tree of arrays ``[B, ...]``.
      targets: by task, whatever its head reads besides the features: labels, weights, masks.
    """

    inputs: Any
    targets: Mapping[str, Any]


class Unbatched(NamedTuple):
    """Marks a part of the features that has no batch axis, such as a tied word table.

    A head reads it as the encoder returned it: ``features.table.value``.

    Attributes:
      value: an array or a tree of arrays, of any shapes.
    """

    value: Any


class Aux(NamedTuple):
    """What encoders and heads return besides features and losses: statistics, metrics.

    Attributes:
      groups: by input group, what its encoder returned, any tree of arrays.
      tasks: by task, what its head returned.
    """

    groups: dict[str, Any]
    tasks: dict[str, Any]


class Problem(NamedTuple):
    """The arguments of `task_gradients`, checked.

    Attributes:
      encode: by input group, its encoder ``(shared, inputs[, key]) -> features``.
      heads: by task, in the order of the losses, ``(params, features, targets[, key]) -> loss``.
      shared: the parameters of the encoder, a tree of arrays.
      head_params: by task, the parameters of its head, or its `OwnParams`.
      batch: by input group, sorted by name, its `Examples`.
      key: the random key of the step, or None if encoders and heads take no key.
      specs: by input group, the structure of the features that its encoder returns.
      has_aux: whether encoders return ``(features, aux)`` and heads ``(loss, aux)``.
      lookups: by input group, the tables whose gradients it has by rows: in the order in which the
        encoder looks rows up, the index of the table among the leaves of `shared`, and the shape of
        the ids.
    """

    encode: Mapping[str, Encode]
    heads: Mapping[str, Head]
    shared: Any
    head_params: Mapping[str, Any]
    batch: Mapping[str, Examples]
    key: jax.Array | None
    specs: Mapping[str, FeatureSpec]
    has_aux: bool = False
    lookups: Mapping[str, tuple[tuple[int, tuple[int, ...]], ...]] = {}  # noqa: RUF012 - not changed


class Encoded(NamedTuple):
    """What is not differentiated of that which an encoder returns.

    Attributes:
      others: the leaves of the features that are neither floating point nor complex.
      aux: what it returned besides the features; empty without `has_aux`.
    """

    others: tuple[jax.Array, ...]
    aux: Any = ()


class HeadResult(NamedTuple):
    """What a head computes, or, with a leading axis, what several of equal shapes do.

    Attributes:
      loss: a scalar, float32 or wider.
      gradient: of the loss with respect to the head, a tree like its parameters.
      cotangent: of the loss with respect to the floating leaves of the features.
      aux: what the head returned besides the loss; empty without `has_aux`.
    """

    loss: jax.Array
    gradient: Any
    cotangent: Any
    aux: Any = ()


def make_problem(
    encode: Encode | Mapping[str, Encode],
    heads: Mapping[str, Head],
    shared: Any,
    head_params: Mapping[str, Any],
    batch: Mapping[str, Examples],
    key: jax.Array | None,
    has_aux: bool = False,
) -> Problem:
    """Checks that the names and shapes of the arguments of `task_gradients` fit.

    Args:
      encode: one encoder for all input groups, or one by input group.
      heads: by task, its head.
      shared: the parameters of the encoder.
      head_params: by task, the parameters of its head.
      batch: by input group, its `Examples`.
      key: the random key of the step, or None.
      has_aux: whether encoders and heads return something besides features and losses.

    Returns:
      A `Problem`, with the groups in the order of their names.

    Raises:
      ValueError: tasks or groups of the arguments differ, a task is in two groups, features have no
        batch axis. The message names the tasks and shapes.
    """
    # Sorted, as jit sorts dictionaries: with and without it, a group has the same index and so the
    # same random key.
    batch = {name: Examples(*batch[name]) for name in sorted(batch)}
    owners: dict[str, str] = {}
    for name, examples in batch.items():
        if not examples.targets:
            raise ValueError(f"batch: input group {name!r} has no task")
        for task in examples.targets:
            if task in owners:
                raise ValueError(f"batch: task {task!r} is in groups {owners[task]!r} and {name!r}")
            owners[task] = name
        if len(examples.targets) > 1:
            for task in examples.targets:
                if isinstance(head_params.get(task), OwnParams):
                    raise ValueError(
                        f"head_params: task {task!r} has private parameters, and shares the input "
                        f"group {name!r}"
                    )
    if not heads:
        raise ValueError("heads: no tasks")
    _check_names("batch", owners, "heads", heads)
    _check_names("head_params", head_params, "heads", heads)
    if isinstance(encode, Mapping):
        _check_names("batch", batch, "encode", encode, "input groups")
        by_group = {name: encode[name] for name in batch}
    else:
        by_group = dict.fromkeys(batch, encode)
    problem = Problem(by_group, heads, shared, head_params, batch, key, {}, has_aux)
    specs: dict[Any, FeatureSpec] = {}
    for name, examples in batch.items():
        # One trace for groups of one encoder and equal shapes.
        private = private_of_group(problem, name)
        alike = (id(by_group[name]), shapes_of((private, examples.inputs)))
        specs[name] = specs[alike] = specs.get(alike) or _feature_spec(problem, name)
    return problem._replace(specs={name: specs[name] for name in batch})


def _check_names(what: str, names: Any, other: str, expected: Any, kind: str = "tasks") -> None:
    if set(names) != set(expected):
        raise ValueError(
            f"{kind} of {what} {sorted(names)} differ from those of {other} {sorted(expected)}"
        )


def _feature_spec(problem: Problem, name: str) -> FeatureSpec:
    inputs = problem.batch[name].inputs
    keys = () if problem.key is None else (problem.key,)
    private = private_of_group(problem, name)
    out = jax.eval_shape(problem.encode[name], problem.shared, *private, inputs, *keys)
    if problem.has_aux:
        out, _ = value_and_aux(out, f"the encoder of input group {name!r}", "features")
    input_leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(inputs)]
    sizes = {leaf.shape[0] if leaf.shape else None for leaf in input_leaves}
    shapes, batched = [], []
    # An `Unbatched` node is kept as one leaf here, so that its arrays are recognised below.
    nodes, _ = jax.tree.flatten(out, is_leaf=lambda node: isinstance(node, Unbatched))
    for node in nodes:
        for leaf in jax.tree.leaves(node):
            shapes.append(leaf)
            batched.append(not isinstance(node, Unbatched))
            if batched[-1] and (not leaf.shape or leaf.shape[0] not in sizes):
                tasks = ", ".join(map(repr, problem.batch[name].targets))
                raise ValueError(
                    f"features of input group {name!r} (tasks {tasks}): the leading axis of "
                    f"{leaf.shape} is not the batch of the inputs, whose shapes are "
                    f"{[leaf.shape for leaf in input_leaves]}; mark what has no batch axis "
                    "as Unbatched"
                )
    floating = tuple(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in shapes)
    return FeatureSpec(jax.tree.structure(out), floating, tuple(batched), tuple(shapes))


def private_of_group(problem: Problem, name: str) -> tuple[Any, ...]:
    """What the encoder of a group reads besides the shared parameters; see `private_of`."""
    (first, *_) = problem.batch[name].targets
    return private_of(problem.head_params[first])


def value_and_aux(returned: Any, who: str, what: str) -> tuple[Any, Any]:
    """The two things that a function with an aux returns; ValueError, with `who`, if not two."""
    if not isinstance(returned, tuple) or len(returned) != 2:
        got = f"{len(returned)} values" if isinstance(returned, tuple) else type(returned).__name__
        raise ValueError(f"has_aux: {who} must return ({what}, aux), got {got}")
    return returned


def shapes_of(tree: Any) -> Any:
    """The structure, shapes and dtypes of a tree of arrays, which can be compared and hashed."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)


def stack_trees(trees: list[Any]) -> Any:
    """Stacks trees of equal structure and shapes along a new leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def stack_params(trees: list[Any]) -> Any:
    """Stacks the parameters of several heads; the gradient of each is materialized by itself."""
    return stack_trees([jax.tree.map(_materialized, tree) for tree in trees])


def unstack_by_task(tree: Any, tasks: list[str]) -> dict[str, Any]:
    """Splits leaves ``[T, ...]`` along their leading axis into one tree for each task."""
    return {
        task: jax.tree.map(lambda leaf, i=i: _materialized(leaf[i]), tree)
        for i, task in enumerate(tasks)
    }


def _materialized(leaf: Any) -> jax.Array:
    # XLA would repeat the slice of a stack inside everything that reads it, and compile that once
    # for each task; so too for gradients that come back through a stack. The barrier computes it
    # once. Of a large array the copy costs more than that saves.
    leaf = jnp.asarray(leaf)
    return jax.lax.optimization_barrier(leaf) if leaf.size <= _MAX_COPIED_SIZE else leaf


def group_key(problem: Problem, index: Any) -> jax.Array | None:
    """The random key of the encoder for the group of this index; None if the problem has none."""
    if problem.key is None:
        return None
    if all(isinstance(encode, DrawsByRow) for encode in problem.encode.values()):
        index = 0
    return jax.random.fold_in(problem.key, index)


def task_key(problem: Problem, index: Any) -> jax.Array | None:
    """The random key of the head of the task of this index; None if the problem has none."""
    if problem.key is None:
        return None
    # After the indices of the groups, so that no head shares a key with an encoder.
    return jax.random.fold_in(problem.key, len(problem.batch) + index)


def encode_group(
    problem: Problem,
    name: str,
    shared: Any,
    inputs: Any,
    key: jax.Array | None,
    private: tuple[Any, ...] = (),
) -> tuple[tuple[jax.Array, ...], Encoded]:
    """Runs the encoder of a group.

    Args:
      problem: the problem.
      name: the group.
      shared: the shared parameters.
      inputs: of the group.
      key: its random key, or None.
      private: what `private_of` has of its task.

    Returns:
      The leaves of the features that are floating point, and so differentiated; and the rest. A
      complex leaf is two floating ones, its real and imaginary part.
    """
    encode, keys = problem.encode[name], () if key is None else (key,)
    features, aux = encode(shared, *private, inputs, *keys), ()
    if problem.has_aux:
        features, aux = features
    floating, others = split_features(problem.specs[name], features)
    return floating, Encoded(others, aux)


def head_loss(
    problem: Problem,
    group: str,
    task: str,
    params: Any,
    floating: Any,
    others: Any,
    targets: Any,
    key: jax.Array | None,
) -> tuple[jax.Array, Any]:
    """A task's loss on the features of its group.

    Args:
      problem: the problem, which has the head of the task.
      group: the name of the input group.
      task: the name of the task.
      params: its parameters, as `Problem` has them.
      floating: the differentiated leaves of the features, as `encode_group` returns them.
      others: the other leaves of the features.
      targets: what the head reads besides the features.
      key: the random key of the head, or None.

    Returns:
      A scalar, float32 or wider, and what the head returned besides it.

    Raises:
      ValueError: the head returns no scalar of floating point, or no pair with `has_aux`.
    """
    features = join_features(problem.specs[group], floating, others)
    keys = () if key is None else (key,)
    loss, aux = problem.heads[task](head_of(params), features, targets, *keys), ()
    if problem.has_aux:
        loss, aux = value_and_aux(loss, f"the head of task {task!r}", "loss")
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
    return jnp.asarray(loss, jnp.promote_types(dtype, jnp.float32)), aux


def aux_zeros(problem: Problem, group: str, task: str) -> Any:
    """Zeros in the shapes of what a head returns besides the loss; empty without `has_aux`."""
    if not problem.has_aux:
        return ()
    spec, keys = problem.specs[group], () if problem.key is None else (problem.key,)

    def aux_of(params: Any, features: Any, targets: Any) -> Any:
        returned = problem.heads[task](head_of(params), features, targets, *keys)
        return value_and_aux(returned, f"the head of task {task!r}", "loss")[1]

    features, targets = spec.structure.unflatten(spec.shapes), problem.batch[group].targets[task]
    shapes = jax.eval_shape(aux_of, problem.head_params[task], features, targets)
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def head_gradients(
    problem: Problem,
    group: str,
    task: str,
    params: Any,
    floating: Any,
    others: Any,
    targets: Any,
    key: jax.Array | None,
) -> HeadResult:
    """A task's loss, and its gradients with respect to its head and to the features.

    Arguments and errors are those of `head_loss`.
    """
    # One head by itself, not a sum of losses: a gradient that is not finite stays with its task.
    (loss, aux), (gradient, cotangent) = jax.value_and_grad(
        lambda params, floating: head_loss(
            problem, group, task, params, floating, others, targets, key
        ),
        argnums=(0, 1),
        has_aux=True,
    )(params, floating)
    return HeadResult(loss, gradient, cotangent, aux)
