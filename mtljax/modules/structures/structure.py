"""A structure of sharing as one value: what it adds to a model, and how a model reads it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax

from mtljax.modules.config import EncoderConfig, SharingConfig
from mtljax.modules.embedding import Embedded
from mtljax.modules.heads import Features

SHARING = "sharing"
"""Among the shared parameters and those of a head, what a structure adds."""

PRIVATE = "private"
"""Beside the shared parameters, those of each task."""

Variables = dict[str, Any]
"""By collection, the variables that an encoder is applied with."""


class Keys(NamedTuple):
    """Random keys of what a structure draws.

    Attributes:
      shared: of what all tasks have.
      tasks: by task, of its private parameters.
    """

    shared: jax.Array
    tasks: Mapping[str, jax.Array]


class Run(NamedTuple):
    """An encoder on some rows, as functions of its variables.

    Attributes:
      embed: `(variables) -> Embedded`, of the tokens alone.
      encode: `(variables, embedded) -> Features`; with None it embeds them itself.
    """

    embed: Callable[[Variables], Embedded]
    encode: Callable[[Variables, Embedded | None], Features]


class Output(NamedTuple):
    """What a structure does at the output of the encoder, and in each head.

    What it makes of a position by shared parameters is packed with the features, so that tasks of
    one input group are encoded once; the head takes its own features out of that.

    Attributes:
      width: `(sharing, tasks, D) -> W`, the width of packed features.
      pack: `(sharing, common, hidden) -> [R, S, W]`, from the encoder's output and the shared
        parameters of the structure.
      draw: `(sharing, tasks, task, D, key) -> own`, what the head of a task has of it; D is the
        encoder's width.
      mix: `(sharing, own, packed, tasks, task) -> [R, S, D]`, what the head of a task reads.
        Everywhere `tasks` are all tasks, in the order of their names.
      reads_task: whether `mix` or `loss` reads whose head it is; else heads of alike tasks are one
        function.
      loss: `(sharing, features, tasks, task) -> [R]`, what the training loss of a task has besides,
        of each row of its packed features; None for nothing.
    """

    width: Callable[[SharingConfig, Sequence[str], int], int]
    pack: Callable[[SharingConfig, Any, jax.Array], jax.Array]
    draw: Callable[[SharingConfig, Sequence[str], str, int, jax.Array], dict[str, Any]]
    mix: Callable[[SharingConfig, Any, jax.Array, Sequence[str], str], jax.Array]
    reads_task: bool = False
    loss: Callable[[SharingConfig, Features, Sequence[str], str], jax.Array] | None = None


def _nothing(sharing: SharingConfig, encoder: EncoderConfig, params: Any, keys: Keys) -> Any:
    del sharing, encoder, params, keys
    return {}, {}


def only_params(sharing: SharingConfig, base: Any, common: Any, own: Any) -> Variables:
    """The encoder as it is; see `Structure.variables`."""
    del sharing, common, own
    return {"params": base}


@dataclass(frozen=True, kw_only=True)
class Structure:
    """A structure; functions as fields say what it does. Its formulas are in `mtljax.sharing`.

    Attributes:
      fields: fields of `SharingConfig` that decide which parameters it has, and what they mean.
      freezes: when the encoder stays as it is beside what is added: `never`, where it is `asked`
        for, or, by default, where the encoder has `begun` as that of a run or a pretrained one.
      decoders: whether tasks can have decoders with layers of their own.
      decodes: whether tasks can write text, which is read token by token.
      has_private: `(sharing) -> bool`, whether every task has parameters of its own besides its
        head, which its encoder reads.
      of_all_tasks: `(sharing) -> bool`, whether what is shared has a part of each task, so that
        none can be added to a trained model.
      check: `(sharing, encoder, shapes)`, raises a ValueError that names the option if an encoder
        with parameters of these shapes cannot have it.
      draw: `(sharing, encoder, params, keys) -> (common, private)`, what it adds to an encoder with
        these parameters: for all tasks, and by task; with it the encoder computes what it did.
      divide: `(sharing, encoder, params, tasks) -> (shared, private)`, in place of `draw` where it
        divides the parameters of an encoder among the tasks.
      whole: `(sharing, base, common, own) -> params`, the inverse, with the part of one task, which
        is that of all at first; where there is `divide`.
      variables: `(sharing, base, common, own) -> collections`, what an encoder is applied with:
        from the shared parameters of the encoder, those of the structure, and those of the task.
      run: `(run, variables) -> Features`, how the encoder is applied with its variables; None for
        once with all of them.
      merged: `(sharing, base, common, own) -> params`, the parameters of a plain encoder that
        computes the same; None where there are none.
      output: what it does with the encoder's output; None for nothing.
      penalty: `(sharing, params) -> scalar`, a term of the objective; None for none.
      has_penalty: `(sharing) -> bool`, whether that is not 0.
      least: `(sharing, encoder, tasks, numbers) -> {field: numbers}`, the fewest numbers that its
        parameters can have, by the field of `SharingConfig` that makes them many, with so many
        tasks and such numbers of parameters in a layer of the encoder.
    """

    fields: tuple[str, ...] = ()
    freezes: Literal["never", "asked", "begun"] = "never"
    decoders: bool = True
    decodes: bool = True
    has_private: Callable[[SharingConfig], bool] = lambda sharing: False
    of_all_tasks: Callable[[SharingConfig], bool] = lambda sharing: False
    check: Callable[[SharingConfig, EncoderConfig, Any], None] = lambda *args: None
    draw: Callable[[SharingConfig, EncoderConfig, Any, Keys], tuple[Any, dict[str, Any]]] = _nothing
    divide: (
        Callable[[SharingConfig, EncoderConfig, Any, Sequence[str]], tuple[Any, dict[str, Any]]]
        | None
    ) = None
    whole: Callable[[SharingConfig, Any, Any, Any], Any] | None = None
    variables: Callable[[SharingConfig, Any, Any, Any], Variables] = only_params
    run: Callable[[Run, Variables], Features] | None = None
    merged: Callable[[SharingConfig, Any, Any, Any], Any] | None = None
    output: Output | None = None
    penalty: Callable[[SharingConfig, Any], jax.Array] | None = None
    has_penalty: Callable[[SharingConfig], bool] = lambda sharing: False
    least: Callable[[SharingConfig, EncoderConfig, int, int], dict[str, int]] = lambda *args: {}


def refuse_linear(sharing: SharingConfig, encoder: EncoderConfig, shapes: Any) -> None:
    """Raises ValueError if an encoder is linear; see `Structure.check`."""
    del shapes
    if encoder.kind == "linear":
        raise ValueError(f"structure {sharing.structure!r}: a linear encoder has no layers")


def refuse_others(sharing: SharingConfig, encoder: EncoderConfig, shapes: Any) -> None:
    """Raises ValueError if an encoder is no transformer; see `Structure.check`."""
    del shapes
    if encoder.kind != "transformer":
        raise ValueError(
            f"structure {sharing.structure!r}: of a transformer alone; encoder.kind is "
            f"{encoder.kind!r}"
        )


def put(tree: dict[str, Any], path: Sequence[str], leaf: Any) -> None:
    """Puts a leaf at a path of a tree of dictionaries, which is changed."""
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = leaf
