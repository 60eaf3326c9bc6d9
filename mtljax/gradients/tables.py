"""Shared parameters of which a task reads few rows: found in the encoders, and differentiated."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtljax.gradients.group_heads import group_tasks
from mtljax.gradients.look_up import recorded
from mtljax.gradients.own_params import head_of
from mtljax.gradients.problem import (
    Encoded,
    Problem,
    encode_group,
    private_of_group,
    shapes_of,
)
from mtljax.gradients.row_gradients import (
    RowGradients,
    is_rows,
    unique_rows,
    unique_rows_of_task,
)

_MIN_ROWS_PER_LOOKUP = 4
"""Rows of a table, for each that a group looks up, from which on its gradients are kept by rows."""

_MIN_SIZE = 2**14
"""Parameters of a table, at least, whose gradients are kept by rows."""


class _Use(NamedTuple):
    """What an encoder does with the parameters that it looks up rows of.

    Attributes:
      lookups: in order, the index of the parameter and the shape of the ids.
      otherwise: parameters that are also used otherwise.
      features: by index of a parameter, the leaves of the features that are this parameter.
    """

    lookups: tuple[tuple[int, tuple[int, ...]], ...]
    otherwise: frozenset[int]
    features: Mapping[int, frozenset[int]]


def with_tables(problem: Problem, *, alike: bool = False) -> Problem:
    """Decides which gradients each group has by rows, and which features it does not differentiate.

    A table is kept by rows in a group whose encoder only reads it by `look_up`, far fewer rows than
    there are; it may also return it, as a feature that no head of the group reads.

    Args:
      problem: the problem, from `make_problem`.
      alike: whether all groups are traced as one, and must agree.

    Returns:
      The problem with `lookups` of each group, and `specs` whose `floating` is false for features
      that are such tables.
    """
    uses: dict[Any, _Use] = {}
    lookups, unread = {}, {}
    for name, examples in problem.batch.items():
        private = private_of_group(problem, name)
        signature = (id(problem.encode[name]), shapes_of((private, examples.inputs)))
        if signature not in uses:
            uses[signature] = _use_of(problem, name)
        use = uses[signature]
        by_rows, unread[name] = _by_rows(problem, name, use)
        lookups[name] = tuple(pair for pair in use.lookups if pair[0] in by_rows)
    if alike and any(
        lookups[name] != lookups[first] or unread[name] != unread[first]
        for first in list(problem.batch)[:1]
        for name in problem.batch
    ):
        return problem
    specs = {
        name: spec._replace(
            floating=tuple(
                floating and i not in unread[name] for i, floating in enumerate(spec.floating)
            )
        )
        for name, spec in problem.specs.items()
    }
    return problem._replace(lookups=lookups, specs=specs)


def _use_of(problem: Problem, name: str) -> _Use:
    leaves, structure = jax.tree.flatten(problem.shared)
    large = {
        i: leaf for i, leaf in enumerate(leaves) if jnp.ndim(leaf) and jnp.size(leaf) >= _MIN_SIZE
    }
    if not large:
        return _Use((), frozenset(), {})
    keys = () if problem.key is None else (problem.key,)
    lookups: list[tuple[int, tuple[int, ...]]] = []

    def run(leaves: list[Any], tables: Mapping[int, Any], *rest: Any) -> Any:
        # What is looked up is read from `tables`: of `leaves` only the other uses are in the trace.
        with recorded({i: leaves[i] for i in large}, tables) as found:
            features = problem.encode[name](structure.unflatten(leaves), *rest)
        lookups.extend((i, ids.shape) for i, ids in found)
        return features[0] if problem.has_aux else features

    rest = (*private_of_group(problem, name), problem.batch[name].inputs, *keys)
    program = jax.make_jaxpr(run)(leaves, large, *rest).jaxpr
    tables = {i: program.invars[i] for i, _ in lookups}
    in_equations = {id(variable) for equation in program.eqns for variable in equation.invars}
    return _Use(
        tuple(lookups),
        frozenset(i for i, variable in tables.items() if id(variable) in in_equations),
        {
            i: frozenset(k for k, out in enumerate(program.outvars) if out is variable)
            for i, variable in tables.items()
        },
    )


def _by_rows(problem: Problem, name: str, use: _Use) -> tuple[frozenset[int], frozenset[int]]:
    """The parameters whose gradients a group has by rows, and the features that are these."""
    leaves = jax.tree.leaves(problem.shared)
    counts: dict[int, int] = {}
    for i, shape in use.lookups:
        counts[i] = counts.get(i, 0) + math.prod(shape)
    few = {
        i
        for i, count in counts.items()
        if i not in use.otherwise and count * _MIN_ROWS_PER_LOOKUP <= jnp.shape(leaves[i])[0]
    }
    returned = frozenset().union(*(use.features[i] for i in few))
    read = _features_read(problem, name) if returned else frozenset()
    by_rows = frozenset(i for i in few if not use.features[i] & read)
    return by_rows, frozenset().union(*(use.features[i] for i in by_rows))


def _features_read(problem: Problem, name: str) -> frozenset[int]:
    """The leaves of a group's features that a head of the group reads."""
    spec, read = problem.specs[name], set()
    keys = () if problem.key is None else (problem.key,)
    for task in group_tasks(problem, name):

        def run(leaves: list[Any], params: Any, targets: Any, *keys: Any, task: str = task) -> Any:
            features = spec.structure.unflatten(leaves)
            loss = problem.heads[task](params, features, targets, *keys)
            return loss[0] if problem.has_aux else loss

        targets = problem.batch[name].targets[task]
        arguments = (list(spec.shapes), head_of(problem.head_params[task]), targets, *keys)
        program = jax.make_jaxpr(run)(*arguments).jaxpr
        used = {id(variable) for equation in program.eqns for variable in equation.invars}
        used |= {id(variable) for variable in program.outvars}
        read |= {i for i in range(len(spec.shapes)) if id(program.invars[i]) in used}
    return frozenset(read)


def encoder_vjp(
    problem: Problem,
    name: str,
    inputs: Any,
    key: jax.Array | None,
    private: tuple[Any, ...] = (),
) -> tuple[tuple[jax.Array, ...], Callable[[Any], tuple[Any, ...]], Encoded]:
    """The forward pass of a group's encoder, and its VJP.

    Args:
      problem: the problem.
      name: the group.
      inputs: of the group.
      key: its random key, or None.
      private: what `private_of` has of its task.

    Returns:
      The floating features; the VJP, from their cotangent to a tuple, the gradient of the shared
      parameters and, if there are some, that of the private ones; and what else the encoder
      returns. The gradient of a table that the group has by rows is a `RowGradients` of one task
      without its axis, in the order of the lookups: `sort_rows` sorts them once they have the axis.
    """
    lookups = problem.lookups.get(name, ())
    if not lookups:
        return jax.vjp(
            lambda shared, *private: encode_group(problem, name, shared, inputs, key, private),
            problem.shared,
            *private,
            has_aux=True,
        )
    leaves, structure = jax.tree.flatten(problem.shared)
    tables = {i: leaves[i] for i, _ in lookups}

    def run(rest: Mapping[int, Any], added: list[jax.Array], *private: Any) -> Any:
        shared = structure.unflatten([rest.get(i, leaf) for i, leaf in enumerate(leaves)])
        with recorded(tables, tables, added) as found:
            floating, encoded = encode_group(problem, name, shared, inputs, key, private)
        return floating, (encoded, [ids for _, ids in found])

    rest = {i: leaf for i, leaf in enumerate(leaves) if i not in tables}
    added = [
        jnp.zeros((*shape, *jnp.shape(leaves[i])[1:]), jnp.result_type(leaves[i]))
        for i, shape in lookups
    ]
    floating, vjp, (encoded, all_ids) = jax.vjp(run, rest, added, *private, has_aux=True)

    def pull_back(cotangent: Any) -> tuple[Any, ...]:
        gradients, of_lookups, *of_private = vjp(cotangent)
        for i, table in tables.items():
            num_rows, *row = jnp.shape(table)
            own = [k for k, (owner, _) in enumerate(lookups) if owner == i]
            ids = jnp.concatenate([all_ids[k].reshape(-1) for k in own]).astype(jnp.int32)
            values = jnp.concatenate([of_lookups[k].reshape(-1, *row) for k in own])
            ids = jnp.where(ids < 0, ids + num_rows, ids)
            gradients = {**gradients, i: RowGradients(ids, values, num_rows)}
        return (structure.unflatten([gradients[i] for i in range(len(leaves))]), *of_private)

    return floating, pull_back, encoded


def sort_rows(task_grads: Any) -> Any:
    """Brings leaves of `RowGradients` into their form, with an axis of tasks or without one."""

    def of_leaf(leaf: Any) -> Any:
        if not isinstance(leaf, RowGradients):
            return leaf
        if leaf.indices.ndim == 1:
            rows = unique_rows_of_task(leaf.indices, leaf.values, leaf.num_rows)
            return dataclasses.replace(leaf, indices=rows[0], values=rows[1])
        rows = unique_rows(leaf.indices, leaf.values, leaf.num_rows)
        return dataclasses.replace(leaf, indices=rows.indices, values=rows.values)

    return jax.tree.map(of_leaf, task_grads, is_leaf=is_rows)


def join_blocks(blocks: list[Any]) -> Any:
    """Per-task gradients of several groups, one after the other along the axis of tasks.

    Args:
      blocks: trees of leaves ``[n, *param]``, or `RowGradients` in any order, also of different N.

    Returns:
      One tree; a leaf that has rows in some of the blocks is a `RowGradients`.
    """
    # One block is not copied.
    if len(blocks) == 1:
        return blocks[0]
    structure = jax.tree.structure(blocks[0], is_leaf=is_rows)
    columns = zip(*(jax.tree.leaves(block, is_leaf=is_rows) for block in blocks), strict=True)
    return structure.unflatten([_joined(list(leaves)) for leaves in columns])


def _joined(leaves: list[Any]) -> Any:
    rows = [leaf for leaf in leaves if isinstance(leaf, RowGradients)]
    if not rows:
        return jnp.concatenate(leaves)
    num_rows, longest = rows[0].num_rows, max(leaf.indices.shape[1] for leaf in rows)
    indices, values, dense, dense_tasks, count = [], [], [], [], 0
    for leaf in leaves:
        if isinstance(leaf, RowGradients):
            pad = longest - leaf.indices.shape[1]
            of_row = ((0, 0),) * (leaf.values.ndim - 2)
            indices.append(jnp.pad(leaf.indices, ((0, 0), (0, pad)), constant_values=leaf.num_rows))
            values.append(jnp.pad(leaf.values, ((0, 0), (0, pad), *of_row)))
            count += leaf.indices.shape[0]
        else:
            size = leaf.shape[0]
            indices.append(jnp.full((size, longest), num_rows, jnp.int32))
            values.append(jnp.zeros((size, longest, *leaf.shape[2:]), leaf.dtype))
            dense.append(leaf)
            dense_tasks += range(count, count + size)
            count += size
    return RowGradients(
        jnp.concatenate(indices),
        jnp.concatenate(values),
        num_rows,
        jnp.concatenate(dense) if dense else None,
        tuple(dense_tasks),
    )
