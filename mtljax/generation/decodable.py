"""What a model must offer to be decoded, and a model without a cache as one."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp


class Prefill(Protocol):
    """Reads the prompts."""

    def __call__(self, params: Any, prompts: Any, room: int, /) -> tuple[Any, jax.Array]:
        """Read the prompts, and make room for what follows.

        Args:
          params: parameters, whatever the model takes.
          prompts: what it reads, a tree of arrays with R rows each.
          room: tokens that will follow at most.

        Returns:
          The state, a tree of arrays whose leading axis are the rows, and the logits ``[R, V]`` of
          the class that follows each prompt.
        """
        ...


class Step(Protocol):
    """Reads one more token a row."""

    def __call__(
        self, params: Any, state: Any, classes: jax.Array, count: jax.Array, /
    ) -> tuple[Any, jax.Array]:
        """Read one more token.

        Args:
          params: as for `Prefill`.
          state: from `Prefill` or the step before, of any number of rows.
          classes: int32 ``[R]``, what was chosen.
          count: int32 scalar, tokens that were read since the prompt, the same for all rows.

        Returns:
          The new state, and the logits ``[R, V]`` of the class that follows.
        """
        ...


def take_rows(tree: Any, rows: jax.Array) -> Any:
    """Rows of every array of a tree, in the order of `rows`, as often as they are named."""
    return jax.tree.map(lambda x: jnp.take(x, rows, axis=0), tree)


def fork_rows(state: Any, count: int) -> Any:
    """Every row of a state `count` times, one after another."""
    rows = jax.tree.leaves(state)[0].shape[0]
    return take_rows(state, jnp.repeat(jnp.arange(rows), count))


def choose_rows(state: Any, parents: jax.Array) -> Any:
    """The rows of a state from `fork_rows` that go on, of each prompt's those that `parents` names.

    Args:
      state: of ``R K`` rows.
      parents: int32 ``[R, K]``, in [0, K).
    """
    rows, count = parents.shape
    return take_rows(state, (jnp.arange(rows)[:, None] * count + parents).reshape(-1))


class Decodable(NamedTuple):
    """A model that can be decoded: two pure functions, and two for texts that branch.

    Each row of the state from `prefill` stands for itself. A beam search forks it, and then goes on
    from some of the branches, again and again: a model that can do so without copying rows brings
    its own `fork` and `choose`, which it alone need understand.

    Attributes:
      prefill: reads the prompts.
      step: reads one more token.
      fork: as `fork_rows`.
      choose: as `choose_rows`.
    """

    prefill: Prefill
    step: Step
    fork: Callable[[Any, int], Any] = fork_rows
    choose: Callable[[Any, jax.Array], Any] = choose_rows


def recomputing(
    next_logits: Callable[[Any, jax.Array, jax.Array], jax.Array],
    output_ids: jax.Array | None = None,
) -> Decodable:
    """A model that keeps nothing between tokens: it reads its whole text again for each.

    Its prompts are ``(tokens [R, L], lengths [R])``: ids, and how many of a row count.

    Args:
      next_logits: from parameters, tokens ``[R, L + room]`` and lengths ``[R]`` to the logits
        ``[R, V]`` of what follows; it is not to read what stands at ``lengths`` and after.
      output_ids: int32 ``[V]``, the token of each class; by default they are the same.

    Returns:
      A `Decodable`; n tokens cost n passes over all.
    """

    def prefill(params: Any, prompts: Any, room: int) -> tuple[Any, jax.Array]:
        tokens, lengths = (jnp.asarray(x, jnp.int32) for x in prompts)
        tokens = jnp.pad(tokens, ((0, 0), (0, room)))
        return (tokens, lengths), next_logits(params, tokens, lengths)

    def step(params: Any, state: Any, classes: jax.Array, count: jax.Array) -> Any:
        del count
        tokens, lengths = state
        ids = classes if output_ids is None else jnp.asarray(output_ids, jnp.int32)[classes]
        rows = jnp.arange(len(tokens))
        tokens = tokens.at[rows, lengths].set(ids, mode="drop")
        return (tokens, lengths + 1), next_logits(params, tokens, lengths + 1)

    return Decodable(prefill, step)
