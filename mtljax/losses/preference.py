"""Losses of pairs of answers, of which one is preferred."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.losses.checks import as_classes, as_float, as_real, check_interval, check_shape


def preference(
    chosen: ArrayLike,
    rejected: ArrayLike,
    reference_chosen: ArrayLike,
    reference_rejected: ArrayLike,
    *,
    beta: float | jax.Array = 0.1,
    margin: ArrayLike = 0.0,
    weight: float | jax.Array = 1.0,
) -> jax.Array:
    r"""Direct preference optimization: the chosen answer should gain more than the rejected one.

    Rafailov et al., "Direct Preference Optimization: Your Language Model is Secretly a Reward
    Model", NeurIPS 2023, arXiv 2305.18290, equation 7, with a margin for other objectives (Zhou et
    al., "Beyond One-Preference-Fits-All Alignment: Multi-Objective Direct Preference Optimization",
    arXiv 2310.03708). With the log-probabilities of the answers under the model and a reference,

    .. math:: -\log \sigma \left( \frac{1}{w} \left( \beta \left[ \log
       \frac{\pi(y^+ \mid x)}{\pi_{ref}(y^+ \mid x)} - \log
       \frac{\pi(y^- \mid x)}{\pi_{ref}(y^- \mid x)} \right] - m \right) \right).

    For one objective of several, w is its share, and m the sum, by their shares, of how much more
    the other objectives' rewards are for the chosen answer. As losses of several tasks, one an
    objective, w is 1 and m is 0, and a weighting decides.

    Args:
      chosen: log-probabilities ``[...]`` of the preferred answers, floating point; see
        `answer_log_probabilities`.
      rejected: ``[...]``, of the others.
      reference_chosen: ``[...]``, under the reference; a constant to differentiation.
      reference_rejected: ``[...]``, likewise.
      beta: how far the model may move from the reference, positive: the larger, the less.
      margin: m, of the shape ``[...]`` or one number; a constant to differentiation.
      weight: w, positive.

    Returns:
      Losses ``[...]``, float32 or wider; log 2 where the model is the reference and m is 0.

    Raises:
      TypeError: log-probabilities not floating point.
      ValueError: shapes differ, or beta or weight is not positive.

    >>> preference(jnp.array(-1.0), jnp.array(-3.0), jnp.array(-2.0), jnp.array(-2.0), beta=0.5)
    Array(0.3132617, dtype=float32)
    """
    check_interval("beta", beta, 0, jnp.inf, open_ends=True)
    check_interval("weight", weight, 0, jnp.inf, open_ends=True)
    better, worse = as_float("chosen", chosen), as_float("rejected", rejected)
    before = [
        jax.lax.stop_gradient(as_float(name, values))
        for name, values in (
            ("reference_chosen", reference_chosen),
            ("reference_rejected", reference_rejected),
        )
    ]
    names = ("rejected", "reference_chosen", "reference_rejected")
    for name, values in zip(names, (worse, *before), strict=True):
        check_shape(name, values, better.shape, "that of chosen")
    asked = jax.lax.stop_gradient(as_real("margin", margin, better.dtype))
    if asked.ndim:
        check_shape("margin", asked, better.shape, "that of chosen")
    gain = (better - before[0]) - (worse - before[1])
    return jax.nn.softplus((asked - beta * gain) / weight)


def answer_log_probabilities(
    token_losses: ArrayLike, answers: ArrayLike, num_answers: int
) -> jax.Array:
    """Sums the negative losses of the tokens of each answer of packed rows.

    Args:
      token_losses: ``[..., S]`` of each token, such as those of `softmax` or
        `linear_cross_entropy`; floating point.
      answers: ``[..., S]``, integer, which of a row's answers a token belongs to, from 0; below 0
        for tokens of prompts and padding, whose losses are not read.
      num_answers: N, how many answers a row has at most; from N on they are not read.

    Returns:
      Log-probabilities ``[..., N]``, float32 or wider; 0 for an answer without tokens.

    Raises:
      TypeError: losses not floating point, or answers not integer.
      ValueError: shapes differ.

    >>> answer_log_probabilities(jnp.array([9.0, 1.0, 2.0, 4.0]), jnp.array([-1, 0, 0, 1]), 2)
    Array([-3., -4.], dtype=float32)
    """
    losses = as_float("token_losses", token_losses)
    ids = as_classes("answers", answers)
    check_shape("answers", ids, losses.shape, "that of token_losses")
    mine = ids[..., None] == jnp.arange(num_answers)
    return -jnp.sum(jnp.where(mine, losses[..., None], 0), axis=-2)
