"""Structures of sharing as parameters: what tasks have in common, what is private, how it is read.

A structure is data. `draw` divides parameters into shared and private ones; `encoder_variables`
puts together what the encoder of a task reads.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtljax.modules.after_layers import (
    draw_adapters,
    draw_film,
    film_of_task,
    is_adapter,
    joined_adapters,
    put,
)
from mtljax.modules.by_position import ADAPTERS
from mtljax.modules.config import EncoderConfig, SharingConfig, output_width
from mtljax.modules.experts import EXPERTS, SHARING, draw_experts
from mtljax.modules.transformer import LAYERS
from mtljax.sharing import merged, of_task

PRIVATE = "private"
"""Beside the shared parameters, those of each task."""

ADDED = ("lora", "mtl_lora", "adapters", "film", *EXPERTS)
"""Structures that are added to an encoder, which can stay as it is."""

_TWO_INPUTS = ("out", "source_out")
"""Dense layers that read heads and their features."""

_ADAPTED = ("qkv", "query", "key_value", "out", "up", "gate_up", "down", "dense")

_LSTM_INPUTS = re.compile(r"layer_\d+(_reverse)?_inputs")


class Matrix(NamedTuple):
    """A dense layer of an encoder, or one of each of several stacked layers.

    Attributes:
      path: of its module, such as ``("transformer", "layers", "up")``.
      layers: ``(L,)`` where they are stacked, else ``()``.
      inputs: features that it reads.
      outputs: features that it makes.
    """

    path: tuple[str, ...]
    layers: tuple[int, ...]
    inputs: int
    outputs: int


def has_private(sharing: SharingConfig) -> bool:
    """Whether every task has parameters of its own besides its head."""
    if sharing.structure in ("lora", "adapters"):
        return sharing.parts != "shared"
    return sharing.structure in ("mtl_lora", "film", "private_layers")


def check_structure(sharing: SharingConfig, encoder: EncoderConfig, shapes: Any) -> None:
    """Check that an encoder can have a structure.

    Args:
      sharing: the structure.
      encoder: the shape of the encoder.
      shapes: its parameters, or their shapes.

    Raises:
      ValueError: naming the option and what it does not suit.
    """
    name, where = sharing.structure, f"structure {sharing.structure!r}"
    if name in ("lora", "mtl_lora"):
        found = list(matrices(shapes))
        if not found:
            raise ValueError(f"{where}: a {encoder.kind} encoder has no dense layers")
        _chosen(sharing, found)
    if name in ("adapters", "private_layers") and encoder.kind == "linear":
        raise ValueError(f"{where}: a linear encoder has no layers")
    if name == "private_layers" and sharing.shared_layers >= encoder.layers:
        raise ValueError(
            f"shared_layers {sharing.shared_layers}: of {encoder.layers} layers, at least one has "
            "to be private"
        )


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


def matrices(params: Any) -> Iterator[Matrix]:
    """The dense layers of an encoder that can have a low-rank update.

    Args:
      params: of the encoder, a tree of arrays or of their shapes.
    """
    for path, leaf in jax.tree.leaves_with_path(params):
        names = tuple(str(entry.key) for entry in path)
        if names[-1] != "kernel" or len(names) < 2:
            continue
        module = names[-2]
        if not (module in _ADAPTED or _LSTM_INPUTS.fullmatch(module)):
            continue
        stacked = int(LAYERS in names)
        split = stacked + (2 if module in _TWO_INPUTS else 1)
        inputs, outputs = math.prod(leaf.shape[stacked:split]), math.prod(leaf.shape[split:])
        yield Matrix(names[:-1], tuple(leaf.shape[:stacked]), inputs, outputs)


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
    shared_key, private_key = jax.random.split(key)
    keys = {task: jax.random.fold_in(private_key, i) for i, task in enumerate(tasks)}
    name = sharing.structure
    if name == "private_layers":
        return divide_layers(sharing, encoder, params, tasks)
    common, private = {}, {}
    if name in EXPERTS:
        width = output_width(encoder)
        common = {"experts": draw_experts(sharing.experts, width, sharing.width, shared_key)}
    if name in ("lora", "adapters"):
        make = _draw_lora if name == "lora" else draw_adapters
        if sharing.parts != "private":
            common = make(sharing, encoder, params, shared_key)
        if sharing.parts != "shared":
            private = {task: make(sharing, encoder, params, keys[task]) for task in tasks}
    elif name == "mtl_lora":
        common = _draw_lora(sharing, encoder, params, shared_key, ups=sharing.ups)
        private = {task: _draw_cores(sharing, params, keys[task]) for task in tasks}
    elif name == "film":
        common = draw_film(sharing, encoder)
        size = (sharing.task_embedding,)
        private = {task: {"embedding": jax.random.normal(keys[task], size)} for task in tasks}
    return ({**params, SHARING: common} if common else params), private


def encoder_variables(sharing: SharingConfig, shared: Mapping[str, Any]) -> dict[str, Any]:
    """The variables that the encoder is applied with.

    Args:
      sharing: the structure.
      shared: the shared parameters; those of a task under ``private`` among them.

    Returns:
      Its parameters, and what is added to its layers, as two collections.
    """
    base = {name: leaf for name, leaf in shared.items() if name not in (SHARING, PRIVATE)}
    common, own = shared.get(SHARING), shared.get(PRIVATE)
    if sharing.structure in EXPERTS or (common is None and own is None):
        return {"params": base}
    if sharing.structure == "private_layers":
        return {"params": _with_layers(base, own)}
    if sharing.structure == "mtl_lora":
        return {"params": base, ADAPTERS: _of_task(sharing, common, own)}
    if sharing.structure == "film":
        return {"params": base, ADAPTERS: film_of_task(common, own)}
    parts = [part for part in (common, own) if part is not None]
    join = _joined_lora if sharing.structure == "lora" else joined_adapters
    is_part = _is_low_rank if sharing.structure == "lora" else is_adapter
    added = jax.tree.map(lambda *each: join(sharing, each), *parts, is_leaf=is_part)
    return {"params": base, ADAPTERS: added}


def merged_parameters(sharing: SharingConfig, shared: Mapping[str, Any]) -> Any:
    """The parameters of an encoder without a structure that computes the same.

    Args:
      sharing: the structure.
      shared: as of `encoder_variables`.

    Raises:
      ValueError: if there are none, as the structure is no update of parameters.
    """
    variables = encoder_variables(sharing, shared)
    if ADAPTERS not in variables and sharing.structure not in EXPERTS:
        return variables["params"]
    if sharing.structure not in ("lora", "mtl_lora"):
        raise ValueError(f"structure {sharing.structure!r}: is no update of the encoder's matrices")

    def of(params: Any, added: Any) -> Any:
        if _is_low_rank(added):
            return {**params, "kernel": merged(params["kernel"], added["a"], added["b"])}
        return {
            name: of(leaf, added[name]) if name in added else leaf for name, leaf in params.items()
        }

    return of(variables["params"], variables[ADAPTERS])


def _draw_lora(
    sharing: SharingConfig, encoder: EncoderConfig, params: Any, key: jax.Array, ups: int = 0
) -> Any:
    """A low-rank update of each matrix; with `ups` of them, several b of each."""
    del encoder
    tree: dict[str, Any] = {}
    for i, matrix in enumerate(_chosen(sharing, list(matrices(params)))):
        shape = (*matrix.layers, matrix.inputs, sharing.rank)
        a = jax.random.normal(jax.random.fold_in(key, i), shape) * matrix.inputs**-0.5
        b = jnp.zeros((*((ups,) if ups else ()), *matrix.layers, sharing.rank, matrix.outputs))
        if ups:
            # Layers first, as everything that is stacked has them.
            b = jnp.moveaxis(b, 0, len(matrix.layers))
        put(tree, matrix.path, {"a": a, "b": b})
    return tree


def _draw_cores(sharing: SharingConfig, params: Any, key: jax.Array) -> Any:
    """Mixtures that are not even: up-projections in equal shares would stay equal for ever."""
    tree: dict[str, Any] = {}
    for i, matrix in enumerate(_chosen(sharing, list(matrices(params)))):
        core = jnp.broadcast_to(jnp.eye(sharing.rank), (*matrix.layers, *(sharing.rank,) * 2))
        mix = jax.random.normal(jax.random.fold_in(key, i), (*matrix.layers, sharing.ups))
        put(tree, matrix.path, {"core": core, "mix": mix})
    return tree


def _joined_lora(sharing: SharingConfig, parts: Sequence[Any]) -> Any:
    """Several low-rank updates as one of the sum of their ranks, with its scale in it."""
    a = jnp.concatenate([part["a"] for part in parts], axis=-1)
    b = jnp.concatenate([part["b"] for part in parts], axis=-2)
    return {"a": a, "b": b * (sharing.alpha / sharing.rank)}


def _of_task(sharing: SharingConfig, common: Any, own: Any) -> Any:
    def of(part: Any, task: Any) -> Any:
        b = jnp.moveaxis(part["b"], -3, 0)
        a, b = of_task(part["a"], b, task["core"], task["mix"])
        return {"a": a, "b": b * (sharing.alpha / sharing.rank)}

    return jax.tree.map(of, common, own, is_leaf=lambda x: _is_low_rank(x) or "core" in x)


def divide_layers(
    sharing: SharingConfig, encoder: EncoderConfig, params: Any, tasks: Sequence[str]
) -> tuple[Any, dict[str, Any]]:
    """Takes the layers from `sharing.shared_layers` on as those of each task, all alike at first.

    Args:
      sharing: the structure, ``private_layers``.
      encoder: the shape of the encoder.
      params: of the encoder, with all layers.
      tasks: names of the tasks.

    Returns:
      The shared parameters, and by task the private ones.
    """
    first, kind = sharing.shared_layers, encoder.kind
    body = params[kind]
    if kind == "transformer":
        rest = {name: leaf for name, leaf in body.items() if name != LAYERS}
        below, above = (
            jax.tree.map(lambda leaf, part=part: leaf[part], body[LAYERS])
            for part in (slice(first), slice(first, None))
        )
        shared, own = {**rest, LAYERS: below}, {LAYERS: above}
    else:
        number = {name: int(name.split("_")[1]) for name in body}
        shared = {name: leaf for name, leaf in body.items() if number[name] < first}
        own = {name: leaf for name, leaf in body.items() if number[name] >= first}
    copies = {task: {kind: jax.tree.map(jnp.copy, own)} for task in tasks}
    return {**params, kind: shared}, copies


def _with_layers(params: Any, own: Any) -> Any:
    """The parameters of an encoder of which `divide_layers` took layers."""
    ((kind, layers),) = own.items()
    body = params[kind]
    if LAYERS in layers:
        stacked = jax.tree.map(lambda *parts: jnp.concatenate(parts), body[LAYERS], layers[LAYERS])
        return {**params, kind: {**body, LAYERS: stacked}}
    return {**params, kind: {**body, **layers}}


def _chosen(sharing: SharingConfig, found: Sequence[Matrix]) -> list[Matrix]:
    names = ["/".join(matrix.path) for matrix in found]
    try:
        search = re.compile(sharing.matrices).search
    except re.error as error:
        raise ValueError(
            f"matrices {sharing.matrices!r}: no regular expression ({error})"
        ) from None
    chosen = [matrix for matrix, name in zip(found, names, strict=True) if search(name)]
    if not chosen:
        raise ValueError(
            f"matrices {sharing.matrices!r}: found in the path of no matrix ({', '.join(names)})"
        )
    return chosen


def _is_low_rank(node: Any) -> bool:
    return isinstance(node, Mapping) and node.keys() == {"a", "b"}
