"""What a step minimizes: the losses of T tasks, and their gradients."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from mtljax import gradients
from mtljax.gradients import (
    Aux,
    Examples,
    LaggedGradients,
    RepresentationGradients,
    TaskGradients,
    WeightedGradient,
    combine,
    gramian,
    sketch,
)
from mtljax.gradients.draws_by_row import DrawsByRow
from mtljax.gradients.one_pass import EncodeTogether
from mtljax.gradients.problem import Encode, Head, value_and_aux
from mtljax.step.frozen import bind
from mtljax.step.gradient_layout import FullGradients, GradientLayout
from mtljax.step.own_parts import own_packing
from mtljax.step.passes import choose_passes
from mtljax.step.shares import encoders_with_shares, heads_with_shares, scale_cotangent


class LossesOf(Protocol):
    """The losses ``[T]`` float32 of a batch; with `shares` ``[T]``, see `Objectives`."""

    def __call__(
        self, params: Any, batch: Any, key: jax.Array | None, shares: jax.Array | None = None
    ) -> Any:
        """Compute them; with an `Aux` where the losses have one."""
        ...


class Objectives(NamedTuple):
    """The losses of T tasks as functions of one tree of parameters and one batch.

    Made by `from_losses` or `from_encoder`; a run makes one of its model. A `key` is the random key
    of a step; None where nothing random is computed, as in validation.

    Attributes:
      names: of the tasks, in the order of the losses.
      losses: ``(params, batch, key, shares=None) -> [T]``, with `has_aux` ``([T], Aux)``. With
        `shares` ``[T]``, the gradient of a task's loss reaches the shared parameters times its
        share; values, and gradients of heads and private parameters, do not change.
      task_gradients: ``(params, batch, key, strategy) -> TaskGradients``, those of the shared
        parameters as `layout` has them.
      lagged_gradients: ``(params, batch, key, weights, sketch) -> LaggedGradients``.
      representation_gradients: ``(params, batch, key) -> RepresentationGradients``.
      present: ``batch -> [T]`` bool, the tasks that have a target in a batch.
      split: from a tree like the parameters to the shared part, and the heads' parts by task.
      join: ``(params, shared, heads) -> params`` with these parts; heads that are not named stay.
      keyed: whether the losses read a random key.
      layout: how the per-task gradients lie on devices.
      with_frozen: from frozen parameters, a tree like the parameters with None for those that are
        trained, to objectives of the trained ones alone; None where that cannot be.
      weighted_gradient: ``(params, batch, key, weights) -> WeightedGradient``, input groups one
        after the other; None where the losses are differentiated as one.
    """

    names: tuple[str, ...]
    losses: LossesOf
    task_gradients: Callable[..., TaskGradients]
    lagged_gradients: Callable[..., LaggedGradients]
    representation_gradients: Callable[..., RepresentationGradients]
    present: Callable[[Any], jax.Array]
    split: Callable[[Any], tuple[Any, dict[str, Any]]]
    join: Callable[[Any, Any, Mapping[str, Any]], Any]
    keyed: bool = False
    layout: GradientLayout = FullGradients()
    with_frozen: Callable[[Any], Any] | None = None
    weighted_gradient: Callable[..., WeightedGradient] | None = None


def losses_and_aux(objectives: Objectives, *args: Any) -> tuple[jax.Array, Aux | None]:
    """The losses ``[T]`` of `objectives`, and the `Aux`; None if they have none."""
    returned = objectives.losses(*args)
    return returned if isinstance(returned, tuple) else (returned, None)


def losses_alone(objectives: Objectives, *args: Any) -> jax.Array:
    """The losses ``[T]`` of `objectives`, without an `Aux`."""
    return losses_and_aux(objectives, *args)[0]


def from_losses(
    losses: Mapping[str, Callable[..., Any]],
    *,
    keyed: bool = False,
    present: Callable[[Any], jax.Array] | None = None,
    has_aux: bool = False,
) -> Objectives:
    """Objectives that are plain functions of the whole tree of parameters.

    All parameters are shared: a parameter that only one task reads has zeros for the others, and
    takes that task's gradient times its weight. Each loss is differentiated by itself, so that
    tasks whose losses read different parts of the batch cost one gradient in all; where they read
    the same part, `from_encoder` saves the forward passes.

    Args:
      losses: by task, ``(params, batch) -> loss``, a scalar of floating point; each is given the
        whole batch.
      keyed: whether they take a random key as a third argument: ``fold_in(key, i)`` for task i.
      present: ``batch -> [T]`` bool, the tasks that have a target; all by default.
      has_aux: whether they return ``(loss, aux)``, where `aux` is any tree of arrays: what a step
        reports as ``metrics.aux.tasks``.

    Returns:
      Objectives for `train_step`, whose parameters are any tree of floating point arrays.

    Raises:
      ValueError: no task; at trace time, a loss that is no scalar of floating point.
    """
    if not losses:
        raise ValueError("losses: no tasks")
    names = tuple(losses)

    def loss_of(index: int, params: Any, batch: Any, key: jax.Array | None) -> Any:
        keys = () if not keyed else (None if key is None else jax.random.fold_in(key, index),)
        loss, aux = losses[names[index]](params, batch, *keys), ()
        if has_aux:
            loss, aux = value_and_aux(loss, f"the loss of task {names[index]!r}", "loss")
        shape, dtype = jnp.shape(loss), jnp.result_type(loss)
        if shape or not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(
                f"loss of task {names[index]!r} must be a scalar of floating point, got {dtype} of "
                f"shape {shape}"
            )
        return jnp.asarray(loss, jnp.promote_types(dtype, jnp.float32)), aux

    def of_tasks(aux: list[Any]) -> Aux:
        return Aux({}, dict(zip(names, aux, strict=True)))

    def values(
        params: Any, batch: Any, key: jax.Array | None, shares: jax.Array | None = None
    ) -> Any:
        pairs = [
            loss_of(
                index,
                params if shares is None else scale_cotangent(params, shares[index]),
                batch,
                key,
            )
            for index in range(len(names))
        ]
        stacked = jnp.stack([loss for loss, _ in pairs])
        return (stacked, of_tasks([aux for _, aux in pairs])) if has_aux else stacked

    def losses_and_gradients(
        params: Any, batch: Any, key: jax.Array | None
    ) -> list[tuple[tuple[jax.Array, Any], Any]]:
        return [
            jax.value_and_grad(
                lambda params, index=index: loss_of(index, params, batch, key), has_aux=True
            )(params)
            for index in range(len(names))
        ]

    def task_gradients(
        params: Any, batch: Any, key: jax.Array | None, strategy: str = "auto"
    ) -> TaskGradients:
        if strategy not in ("auto", "unrolled"):
            raise ValueError(
                f"strategy {strategy!r}: plain losses are differentiated one by one, 'unrolled'"
            )
        pairs = losses_and_gradients(params, batch, key)
        shared = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(grads for _, grads in pairs))
        aux = of_tasks([aux for (_, aux), _ in pairs]) if has_aux else None
        return TaskGradients(jnp.stack([loss for (loss, _), _ in pairs]), shared, {}, aux)

    def lagged_gradients(
        params: Any, batch: Any, key: jax.Array | None, weights: jax.Array, size: int | None
    ) -> LaggedGradients:
        losses, task_grads, heads, aux = task_gradients(params, batch, key)
        sketches = None if size is None else sketch(task_grads, size)
        products = gramian(task_grads if sketches is None else sketches)
        direction = combine(weights, task_grads)
        return LaggedGradients(losses, direction, products, heads, sketches, aux)

    def representation_gradients(*_: Any) -> RepresentationGradients:
        raise ValueError("strategy 'representation': needs from_encoder, plain losses have none")

    def all_present(batch: Any) -> jax.Array:
        del batch
        return jnp.ones(len(names), bool)

    return Objectives(
        names,
        values,
        task_gradients,
        lagged_gradients,
        representation_gradients,
        present or all_present,
        split=lambda tree: (tree, {}),
        join=lambda params, shared, heads: shared,
        keyed=keyed,
        with_frozen=lambda frozen: from_losses(
            {name: bind(loss, frozen) for name, loss in losses.items()},
            keyed=keyed,
            present=present,
            has_aux=has_aux,
        ),
    )


def from_encoder(
    encode: Encode | Mapping[str, Encode],
    heads: Mapping[str, Head],
    *,
    keyed: bool = False,
    present: Callable[[Any], jax.Array] | None = None,
    examples: Callable[[Any], Mapping[str, Examples]] = lambda batch: batch,
    encode_together: EncodeTogether | None = None,
    examples_together: Callable[[Any], Mapping[str, Examples]] | None = None,
    passes: str = "auto",
    has_aux: bool = False,
    private: bool = False,
) -> Objectives:
    """Objectives of a shared encoder and a head per task: each example is encoded once.

    Args:
      encode: ``(shared, inputs) -> features``, or one by input group; see
        `mtljax.gradients.task_gradients`, which computes the gradients.
      heads: by task ``(params, features, targets) -> loss``, a scalar.
      keyed: whether encoders and heads take a random key as one more argument.
      present: ``batch -> [T]`` bool, the tasks that have a target; all by default.
      examples: from a batch to `Examples` by input group; by default the batch is that.
      encode_together: ``(shared, {group: inputs}[, key]) -> {group: features}``, the rows of all
        groups encoded in one pass. What it draws at random should not depend on which groups it
        is given: see `mtljax.gradients.DrawsByRow`.
      examples_together: from a batch to the `Examples` of such a pass; by default `examples`.
      passes: for the gradient of one weighted sum: ``'one'``, all groups in one pass;
        ``'by_group'``, one after the other; ``'auto'``, by group on a CPU, else one pass if there
        is an `encode_together`.
      has_aux: whether encoders return ``(features, aux)`` and heads ``(loss, aux)``, where `aux` is
        any tree of arrays, such as statistics of the batch: what a step reports as ``metrics.aux``.
      private: whether each task has parameters of its own in the encoder, which is called as
        ``(shared, private, inputs[, key])``; they take the gradient that the heads take.

    Returns:
      Objectives for `train_step`, whose parameters are ``{"shared": ..., "heads": {task: ...}}``,
      and ``"private": {task: ...}`` if there are such.

    Raises:
      ValueError: another `passes`, one pass without `encode_together` or with private parameters;
        at trace time, where names, shapes or the strategy do not fit.
    """
    names = tuple(heads)
    examples_together = examples_together or examples
    apart = "" if encode_together is not None else "there is no encode_together"
    apart = "tasks have private parameters in the encoder" if private else apart
    own_of, parts_of = own_packing(private)
    platform = jax.default_backend()
    chosen = choose_passes(passes, platform, 1, groups_apart=apart).passes
    together = encode_together if chosen == "one" else None
    by_group = chosen == "by_group" and (passes == "by_group" or platform == "cpu")
    aux: Any = {"has_aux": has_aux}

    def losses(
        params: Any, batch: Any, key: jax.Array | None, shares: jax.Array | None = None
    ) -> Any:
        scaled, read = heads, (examples if together is None else examples_together)(batch)
        encoder, own = encode, own_of(params)
        if shares is not None and private:
            encoder, own = encoders_with_shares(encode, own, shares)
        elif shares is not None:
            scaled, read = heads_with_shares(heads, read, shares)
        parts = (params["shared"], own, read)
        return gradients.task_losses(
            encoder, scaled, *parts, key=key, encode_together=together, **aux
        )

    def task_gradients(
        params: Any, batch: Any, key: jax.Array | None, strategy: str = "auto"
    ) -> TaskGradients:
        parts = (params["shared"], own_of(params), examples(batch))
        return gradients.task_gradients(encode, heads, *parts, key=key, strategy=strategy, **aux)

    def weighted_gradient(
        params: Any, batch: Any, key: jax.Array | None, weights: jax.Array
    ) -> WeightedGradient:
        parts = (params["shared"], own_of(params), examples(batch))
        return gradients.weighted_gradient(encode, heads, *parts, weights, key=key, **aux)

    def lagged_gradients(
        params: Any, batch: Any, key: jax.Array | None, weights: jax.Array, size: int | None
    ) -> LaggedGradients:
        parts = (params["shared"], own_of(params), examples(batch))
        return gradients.lagged_gradients(
            encode, heads, *parts, weights, key=key, sketch=size, **aux
        )

    def representation_gradients(
        params: Any, batch: Any, key: jax.Array | None
    ) -> RepresentationGradients:
        encoders = list(encode.values()) if isinstance(encode, Mapping) else [encode]
        if len(encoders) > 1:
            raise ValueError("strategy 'representation': all tasks must read the same inputs")
        parts = (params["shared"], own_of(params), examples(batch))
        return gradients.representation_gradients(encoders[0], heads, *parts, key=key, **aux)

    def all_present(batch: Any) -> jax.Array:
        del batch
        return jnp.ones(len(names), bool)

    def with_frozen(frozen: Any) -> Objectives:
        if jax.tree.leaves(frozen.get("private")):  # tasks share one function, traced once
            raise ValueError("frozen: private parameters of the encoder are all trained")

        def of_trained(function: Any) -> Any:
            if isinstance(function, DrawsByRow):
                return DrawsByRow(bind(function.encode, frozen["shared"]))
            return bind(function, frozen["shared"])

        bound: Any
        if isinstance(encode, Mapping):
            # Groups that have one function keep one, so that they are traced as one.
            functions = {id(function): function for function in encode.values()}
            by_id = {name: of_trained(function) for name, function in functions.items()}
            bound = {group: by_id[id(function)] for group, function in encode.items()}
        else:
            bound = of_trained(encode)
        return from_encoder(
            bound,
            {name: bind(head, frozen["heads"][name]) for name, head in heads.items()},
            keyed=keyed,
            present=present,
            examples=examples,
            encode_together=None if encode_together is None else of_trained(encode_together),
            examples_together=examples_together,
            passes=passes,
            has_aux=has_aux,
            private=private,
        )

    return Objectives(
        names,
        losses,
        task_gradients,
        lagged_gradients,
        representation_gradients,
        present or all_present,
        split=lambda tree: (tree["shared"], own_of(tree)),
        join=lambda params, shared, own: {
            "shared": shared,
            **parts_of({**own_of(params), **own}),
        },
        keyed=keyed,
        with_frozen=with_frozen,
        weighted_gradient=weighted_gradient if by_group else None,
    )
