"""The parameters of a model with a structure of sharing: checked, drawn, and as they are read."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax

from mtljax.modules.config import EncoderConfig, SharingConfig
from mtljax.modules.heads import Features
from mtljax.modules.structures.structure import PRIVATE, SHARING, Keys, Structure
from mtljax.modules.structures.table import STRUCTURES


def structure_of(sharing: SharingConfig) -> Structure:
    """The structure that a configuration names."""
    return STRUCTURES[sharing.structure]


def has_private(sharing: SharingConfig) -> bool:
    """Whether every task has parameters of its own besides its head."""
    return structure_of(sharing).has_private(sharing)


def check_structure(
    sharing: SharingConfig,
    encoder: EncoderConfig,
    shapes: Any,
    decoders: int = 0,
    writers: Sequence[str] = (),
) -> None:
    """Check that an encoder can have a structure.

    Args:
      sharing: the structure.
      encoder: the shape of the encoder.
      shapes: its parameters, or their shapes.
      decoders: layers of the decoders.
      writers: names of the tasks that write text.

    Raises:
      ValueError: naming the option and what it does not suit.
    """
    structure = structure_of(sharing)
    if decoders and not structure.decoders:
        raise ValueError(f"structure {sharing.structure!r}: not with decoder.layers")
    for task in writers:
        if not structure.decodes:
            raise ValueError(
                f"structure {sharing.structure!r}: task {task!r} writes text, for which its "
                "encoder would have to read token by token"
            )
    structure.check(sharing, encoder, shapes)


def check_apart(sharing: SharingConfig, groups: Mapping[str, str]) -> None:
    """Check that tasks with private parameters are encoded apart.

    Args:
      sharing: the structure.
      groups: by task, its input group.

    Raises:
      ValueError: naming tasks that are not.
    """
    by_group: dict[str, list[str]] = {}
    for task, group in groups.items():
        by_group.setdefault(group, []).append(task)
    for tasks in by_group.values():
        if has_private(sharing) and len(tasks) > 1:
            raise ValueError(
                f"structure {sharing.structure!r}: tasks {', '.join(tasks)} are encoded together, "
                "and have private parameters"
            )


def with_private(shared: Mapping[str, Any], private: Any) -> dict[str, Any]:
    """Shared parameters together with the private ones of a task, as an encoder reads them."""
    return {**shared, PRIVATE: private}


def draw(
    sharing: SharingConfig,
    encoder: EncoderConfig,
    params: Any,
    tasks: Sequence[str],
    key: jax.Array,
) -> tuple[Any, dict[str, Any]]:
    """The first parameters of a structure, with which an encoder computes what it did without.

    Args:
      sharing: the structure.
      encoder: the shape of the encoder.
      params: of the encoder.
      tasks: names of the tasks.
      key: a random key.

    Returns:
      The shared parameters, in which those of the structure are under ``sharing``; and by task the
      private ones, empty where there are none.
    """
    structure = structure_of(sharing)
    if structure.divide is not None:
        return structure.divide(sharing, encoder, params, tasks)
    shared_key, private_key = jax.random.split(key)
    by_task = {task: jax.random.fold_in(private_key, i) for i, task in enumerate(tasks)}
    common, private = structure.draw(sharing, encoder, params, Keys(shared_key, by_task))
    return ({**params, SHARING: common} if common else params), private


def encoder_variables(sharing: SharingConfig, shared: Mapping[str, Any]) -> dict[str, Any]:
    """The variables that the encoder is applied with.

    Args:
      sharing: the structure.
      shared: the shared parameters; those of a task under ``private`` among them.

    Returns:
      Its parameters, and what is added to its layers, as two collections.
    """
    return structure_of(sharing).variables(sharing, *_divided(shared))


def merged_parameters(sharing: SharingConfig, shared: Mapping[str, Any]) -> Any:
    """The parameters of an encoder without a structure that computes the same.

    Args:
      sharing: the structure.
      shared: as of `encoder_variables`.

    Raises:
      ValueError: if there are none, as the structure is no update of parameters.
    """
    merged = structure_of(sharing).merged
    if merged is None:
        raise ValueError(f"structure {sharing.structure!r}: is no update of the encoder's matrices")
    return merged(sharing, *_divided(shared))


def rows_loss(
    sharing: SharingConfig, features: Features, tasks: Sequence[str], task: str
) -> jax.Array | None:
    """What a structure adds to the training loss of a task, of each row: ``[R]``; None for nothing.

    Args:
      sharing: the structure.
      features: from `packed`.
      tasks: names of all tasks.
      task: whose loss it is.
    """
    output = structure_of(sharing).output
    if output is None or output.loss is None:
        return None
    return output.loss(sharing, features, sorted(tasks), task)


def whole_encoder(sharing: SharingConfig, shared: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of the encoder as the first task has them, without what is added to it.

    Args:
      sharing: the structure.
      shared: as of `encoder_variables`.
    """
    whole = structure_of(sharing).whole
    base, common, own = _divided(shared)
    return base if whole is None else whole(sharing, base, common, own)


def _divided(shared: Mapping[str, Any]) -> tuple[dict[str, Any], Any, Any]:
    """The parameters of the encoder, of the structure, and of the task; None for none."""
    base = {name: leaf for name, leaf in shared.items() if name not in (SHARING, PRIVATE)}
    return base, shared.get(SHARING), shared.get(PRIVATE)


def packed(sharing: SharingConfig, shared: Mapping[str, Any], features: Features) -> Features:
    """The features of an encoder as `mixed` reads them, with what shared parameters make of them.

    Args:
      sharing: the structure.
      shared: the shared parameters.
      features: of the encoder, ``[R, S, D]``.
    """
    output = structure_of(sharing).output
    if output is None:
        return features
    return features._replace(hidden=output.pack(sharing, shared[SHARING], features.hidden))


def packed_width(sharing: SharingConfig, tasks: Sequence[str], width: int) -> int:
    """The width of features that `packed` returns for those of this width."""
    output = structure_of(sharing).output
    return width if output is None else output.width(sharing, sorted(tasks), width)


def draw_in_head(
    sharing: SharingConfig, tasks: Sequence[str], task: str, width: int, key: jax.Array
) -> dict[str, Any]:
    """What a head has of a structure, as its parameters hold it; nothing of most.

    Args:
      sharing: the structure.
      tasks: names of all tasks.
      task: whose head it is.
      width: of the encoder's output.
      key: a random key.
    """
    output = structure_of(sharing).output
    if output is None:
        return {}
    return {SHARING: output.draw(sharing, sorted(tasks), task, width, key)}


def mixed(
    sharing: SharingConfig,
    features: Features,
    head: Mapping[str, Any],
    tasks: Sequence[str],
    task: str,
) -> tuple[Features, Any]:
    """The features that a head reads, and the rest of its parameters.

    Args:
      sharing: the structure.
      features: from `packed`.
      head: the parameters of the head, with those of `draw_in_head`.
      tasks: names of all tasks.
      task: whose head it is.

    Returns:
      Features ``[R, S, D]``, and the head without what mixed them.
    """
    output = structure_of(sharing).output
    if output is None:
        return features, head
    own, head = head[SHARING], {name: leaf for name, leaf in head.items() if name != SHARING}
    hidden = output.mix(sharing, own, features.hidden, sorted(tasks), task)
    return features._replace(hidden=hidden), head
