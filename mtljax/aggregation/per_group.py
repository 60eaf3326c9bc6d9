"""A weighting for each group of the parameters."""

from collections.abc import Hashable, Mapping
from typing import Any

import jax
from optax.experimental import aggregating

from mtljax.aggregation.from_weighting import weighted_direction
from mtljax.aggregation.guard import check_required, check_task_axis, check_task_count
from mtljax.gradients.leaf_groups import Labels, leaf_groups
from mtljax.gradients.row_gradients import is_rows
from mtljax.weighting import Weighting
from mtljax.weighting.common.arguments import check_count

_OF_GRADIENTS = ("gramian", "gramian_diagonal", "cross_gramian", "validation_gradients")


def per_group(weighting: Weighting, num_tasks: int, labels: Labels) -> aggregating.Aggregator:
    r"""Makes an aggregator that weighs each group of leaves separately.

    Every label has a Gramian, weights and a state of its own: :math:`d_k = J_k^\top w_k` for the
    leaves of group k. Conflicts are then settled within the group: where a method conflicts with
    no task in any group, the sum over the groups conflicts with none. One group is
    `from_weighting`. Methods that draw random numbers draw the same ones in all groups.

    When to use: tasks that conflict in some layers only.

    | input | direction |
    |---|---|
    | one task, or one group | that of `from_weighting` |
    | a group of which a task has no gradient | a zero gradient for the method of that group only |
    | a gradient not finite in a group | there the method's fallback weights, without that task |
    | all gradients of a group zero | 0 for its leaves |

    Args:
      weighting: the method.
      num_tasks: T.
      labels: a tree of labels like the parameters, a prefix of one, or a function from the path
        of a leaf, such as ``"encoder/layer_0/kernel"``, to its label. Labels are strings, or
        integers.

    Returns:
      An Optax aggregator whose state is a dictionary from label to the state of the weighting.
      Its `update` takes leaves ``[T, *param]``, ``losses=losses``, and optionally `mask` and the
      signals of `from_weighting`. A signal may be a dictionary from label to value; with several
      groups the products of gradients must be, where they are given.

    Raises:
      ValueError: the method cannot have `num_tasks` tasks. In `init` and `update`: labels that do
        not fit the tree.

    >>> import jax.numpy as jnp
    >>> from mtljax.weighting import equal
    >>> method = per_group(equal(), 2, lambda path: path.split("/")[0])
    >>> params = {"embedding": jnp.zeros(1), "layers": {"kernel": jnp.zeros(2)}}
    >>> sorted(method.init(params))
    ['embedding', 'layers']
    """
    tasks = check_count("num_tasks", num_tasks)
    weighting.init(tasks)  # a wrong number of tasks is an error here rather than in init

    def init(params: Any) -> dict[Hashable, Any]:
        return {label: weighting.init(tasks) for label in leaf_groups(labels, params)}

    def update(
        updates: Any,
        state: Any,
        params: Any = None,
        *,
        losses: Any = None,
        mask: Any = None,
        **extra_args: Any,
    ) -> tuple[Any, dict[Hashable, Any]]:
        check_required(("losses",), {"losses": losses})
        check_task_axis(updates, params)
        check_task_count(updates, tasks)
        groups = leaf_groups(labels, updates)
        if groups.keys() != state.keys():
            raise ValueError(f"labels {sorted(map(str, groups))} differ from those in the state")
        leaves, structure = jax.tree.flatten(updates, is_leaf=is_rows)
        directions, new = list(leaves), {}
        for label, indices in groups.items():
            gradients = [leaves[i] for i in indices]
            keywords = {
                name: _of_group(name, value, label, len(groups))
                for name, value in extra_args.items()
            }
            direction, new[label] = weighted_direction(
                weighting, gradients, state[label], losses, mask, keywords
            )
            for i, leaf in zip(indices, direction, strict=True):
                directions[i] = leaf
        return structure.unflatten(directions), new

    return aggregating.Aggregator(init, update)


def _of_group(name: str, value: Any, label: Hashable, count: int) -> Any:
    """Returns a signal of one of `count` groups; ValueError if one value is given for several."""
    if isinstance(value, Mapping):
        return value[label]
    if name in _OF_GRADIENTS and count > 1:
        raise ValueError(f"{name} must be a dictionary from label to value, for {count} groups")
    return value
