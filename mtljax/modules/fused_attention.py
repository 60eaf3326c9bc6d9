"""Fused attention with a mask, which may be mapped over an axis of tasks."""

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp


def _folded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays of rows, for which an axis that `jax.vmap` adds becomes more rows."""
    run = jax.custom_batching.custom_vmap(function)

    @run.def_vmap
    def _(size: int, mapped: Any, *arrays: jax.Array) -> Any:
        batched = [
            x if is_mapped else jnp.broadcast_to(x, (size, *x.shape))
            for x, is_mapped in zip(arrays, mapped, strict=True)
        ]
        outputs = run(*(x.reshape(-1, *x.shape[2:]) for x in batched))
        outputs = jax.tree.map(lambda x: x.reshape(size, -1, *x.shape[1:]), outputs)
        return outputs, jax.tree.map(lambda _: True, outputs)

    return run


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def fused_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array,
    implementation: Literal["xla", "cudnn"] = "cudnn",
) -> jax.Array:
    """`jax.nn.dot_product_attention` with a mask that serves all heads.

    Its cuDNN kernel, mapped over tasks, takes no mask without an axis of heads; here the axis of
    tasks is folded into that of rows. The backward pass computes the attention again.

    Args:
      query: ``[R, S, heads, size]``.
      key: ``[R, S, heads, size]``.
      value: ``[R, S, heads, size]``.
      mask: bool ``[R, 1, S, S]``, which positions see which.
      implementation: of `jax.nn.dot_product_attention`.

    Returns:
      ``[R, S, heads, size]``.
    """
    return _folded(functools.partial(_attention, implementation))(query, key, value, mask)


def _attention(implementation: Any, query: Any, key: Any, value: Any, mask: Any) -> jax.Array:
    return jax.nn.dot_product_attention(query, key, value, mask=mask, implementation=implementation)


def _forward(query: Any, key: Any, value: Any, mask: Any, implementation: Any) -> Any:
    return fused_attention(query, key, value, mask, implementation), (query, key, value, mask)


def _backward(implementation: Any, saved: Any, cotangent: jax.Array) -> tuple[Any, ...]:
    def vjp(query: Any, key: Any, value: Any, mask: Any, cotangent: Any) -> tuple[Any, ...]:
        def attention(*x: Any) -> jax.Array:
            return _attention(implementation, *x, mask=mask)

        return jax.vjp(attention, query, key, value)[1](cotangent)

    return (*_folded(vjp)(*saved, cotangent), None)


fused_attention.defvjp(_forward, _backward)
