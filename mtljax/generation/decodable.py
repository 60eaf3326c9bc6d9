"""The interface of a model that can be decoded, and an adapter for models without a cache."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp


class Prefill(Protocol):
    """Reads the prompts."""

    def __call__(self, params: Any, prompts: Any, room: int, /) -> tuple[Any, jax.Array]:
        """Read the prompts, and allocate what the tokens that follow need.

        Args:
          params: parameters, a tree of whatever form the model takes.
          prompts: a tree of arrays with R rows each.
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
    """Rows of every array of a tree, by their indices `rows`, which may repeat."""
    return jax.tree.map(lambda x: jnp.take(x, rows, axis=0), tree)


def fork_rows(state: Any, count: int) -> Any:
    """A state of R rows with each row `count` times, next to each other."""
    rows = jax.tree.leaves(state)[0].shape[0]
    return take_rows(state, jnp.repeat(jnp.arange(rows), count))


def choose_rows(state: Any, parents: jax.Array) -> Any:
    """The rows of a state from `fork_rows` that continue.

    Args:
      state: of K beams of each of R prompts, ``R K`` rows.
      parents: int32 ``[R, K]`` in [0, K), which beam of its prompt each of the new ones continues.

    Returns:
      A state of ``R K`` rows.
    """
    rows, count = parents.shape
    return take_rows(state, (jnp.arange(rows)[:, None] * count + parents).reshape(-1))


class Decodable(NamedTuple):
    """A model that can be decoded: two pure functions, and two more for a beam search.

    The rows of a state are independent. A beam search forks each into K beams, and after every
    token continues with some of them: a model that can do so without copying rows has its own
    `fork` and `choose`, between which the state may have a form of its own.

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
    """A model without a cache, which reads all of its text again for every token.

    Its prompts are ``(tokens [R, L], lengths [R])``: ids, and how many of a row are valid.

    Args:
      next_logits: from parameters, tokens ``[R, L + room]`` and lengths ``[R]`` to the logits
        ``[R, V]`` of what follows; it must not read columns from ``lengths`` on.
      output_ids: int32 ``[V]``, the token of each class; by default they are the same.

    Returns:
      A `Decodable`; n tokens cost n passes over the text.
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
