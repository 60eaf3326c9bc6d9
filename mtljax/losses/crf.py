"""A conditional random field over the tags of packed texts."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.losses.chains import Chains, Transitions, chains
from mtljax.losses.checks import as_classes, check_shape, nan_outside
from mtljax.losses.viterbi import viterbi


def crf(
    scores: ArrayLike, targets: ArrayLike, texts: ArrayLike, transitions: Transitions
) -> jax.Array:
    r"""What each tag adds to the negative log-likelihood of its text, in nats.

    The field (Lafferty et al., "Conditional random fields", ICML 2001) gives the tags of a text a
    probability in proportion to :math:`\exp \sum_t (e_{t, y_t} + T_{y_{t-1}, y_t})`, with scores of
    the first and of the last tag. A tag's loss is :math:`-\log p(y_t \mid y_{<t})`, so that the sum
    over a text is its negative log-likelihood, and a weighted mean is one over tags.

    A missing tag is summed over: those after it are predicted from the tags before that are known,
    and the sum is the negative log-likelihood of the known tags.

    Args:
      scores: ``[..., S, K]`` of each tag at each position, floating point.
      targets: ids ``[..., S]`` of the tags, integer; below 0 where a tag is missing. One from K
        gives NaN, and counts as missing for those after it.
      texts: ``[..., S]``, integer, of which text each position is: equal numbers in a row, one
        after another, are one text. 0 for positions that have no tag, wherever they are: padding,
        marks, and pieces that continue a word.
      transitions: scores of neighbouring tags. A target that they forbid has an infinite loss, and
        no gradient.

    Returns:
      Losses ``[..., S]``, float32 or wider; 0 at missing tags and where there is no text.

    Raises:
      TypeError: scores or transitions not floating point, or targets or texts not integer.
      ValueError: shapes do not fit.

    >>> free = Transitions(jnp.zeros((2, 2)), jnp.zeros(2), jnp.zeros(2))
    >>> crf(jnp.zeros((3, 2)), jnp.array([0, 1, 0]), jnp.array([1, 1, 0]), free)
    Array([0.6931472, 0.6931472, 0.       ], dtype=float32)
    """
    chain = chains(scores, texts, transitions)
    given = as_classes("targets", targets)
    check_shape("targets", given, chain.shape, "that of scores without tags")
    given = given.reshape(chain.inside.shape)
    tags = chain.scores.shape[-1]
    known = chain.inside & (given >= 0) & (given < tags)
    labels = jnp.where(known, given, -1)
    before = jnp.where(chain.first, tags, jnp.take_along_axis(labels, chain.previous, axis=1))
    messages = _messages(chain)
    # Only what follows a missing tag needs all tags that may be before it.
    log_p = jax.lax.cond(
        jnp.any(known & (before < 0)),
        lambda: _picked(_filtered(chain, messages, labels), labels),
        lambda: _known_steps(chain, messages, before, labels),
    )
    log_p = jnp.where(known, log_p, 0)
    losses = jnp.where(chain.inside & (given >= 0), nan_outside(-log_p, given, tags), 0)
    return losses.reshape(chain.shape)


def crf_marginals(scores: ArrayLike, texts: ArrayLike, transitions: Transitions) -> jax.Array:
    """The probability of each tag at each position, of all tags of the text.

    Args:
      scores: as for `crf`.
      texts: as for `crf`.
      transitions: as for `crf`.

    Returns:
      ``[..., S, K]``; 0 where there is no text.

    Raises:
      TypeError, ValueError: as `crf`.
    """
    chain = chains(scores, texts, transitions)
    log_p = _filtered(chain, _messages(chain), jnp.full(chain.inside.shape, -1))
    return jnp.where(chain.inside[..., None], jnp.exp(log_p), 0).reshape(*chain.shape, -1)


def crf_log_partition(scores: ArrayLike, texts: ArrayLike, transitions: Transitions) -> jax.Array:
    """The log of the sum over all sequences of tags of a text, in parts that sum to it.

    Args:
      scores: as for `crf`.
      texts: as for `crf`.
      transitions: as for `crf`; of each text some sequence must be allowed.

    Returns:
      ``[..., S]``: the sum over the positions of a text is its log partition function, of which no
      part grows with the length of the text; 0 where there is no text. The gradient with respect to
      scores is `crf_marginals`.

    Raises:
      TypeError, ValueError: as `crf`.
    """
    # The score of any sequence is its log-probability and the log partition function.
    chain, best = chains(scores, texts, transitions), viterbi(scores, texts, transitions)
    tags, labels = chain.scores.shape[-1], best.reshape(chain.inside.shape)
    before = jnp.where(chain.first, tags, jnp.take_along_axis(labels, chain.previous, axis=1))
    own = _picked(chain.scores, labels) + chain.steps[before, labels]
    own = own + jnp.where(chain.last, chain.end[labels], 0)
    parts = jnp.where(chain.inside, own, 0).reshape(chain.shape)
    return parts + crf(scores, best, texts, transitions)


class _Messages(NamedTuple):
    """What the rest of a text says; of each position up to the same number.

    Attributes:
      ahead: ``[R, S, K]``, of each tag its score and what may follow it.
      sums: ``[R, S, K + 1]``, the log of the sum over tags, after each previous tag.
    """

    ahead: jax.Array
    sums: jax.Array


def _messages(chain: Chains) -> _Messages:
    steps = _Log.of(chain.steps)

    def step(after: jax.Array, inputs: tuple[jax.Array, ...]):
        scores, inside, last = inputs
        ahead = _up_to_a_number(scores + jnp.where(last, chain.end, after))
        sums = steps.sums(ahead)
        before = _up_to_a_number(sums[:, :-1])
        return jnp.where(inside, before, after), (ahead, sums)

    flags = (chain.inside[..., None], chain.last[..., None])
    inputs = [jnp.swapaxes(part, 0, 1) for part in (chain.scores, *flags)]
    after = jnp.zeros_like(chain.scores[:, 0])
    _, outputs = jax.lax.scan(step, after, tuple(inputs), reverse=True)
    return _Messages(*(jnp.swapaxes(part, 0, 1) for part in outputs))


def _known_steps(
    chain: Chains, messages: _Messages, before: jax.Array, labels: jax.Array
) -> jax.Array:
    """Log-probabilities ``[R, S]`` of labels after those before them."""
    tags = chain.scores.shape[-1]
    step = chain.steps[jnp.clip(before, 0, tags), jnp.maximum(labels, 0)]
    ahead = _picked(messages.ahead, labels)
    # A label that nothing can follow is as impossible as one that cannot follow.
    possible = jnp.isfinite(step) & jnp.isfinite(ahead)
    log_p = jnp.where(possible, step, 0) + jnp.where(possible, ahead, 0)
    sums = jnp.where(possible, _picked(messages.sums, before), 0)
    return jnp.where(possible, log_p - sums, -jnp.inf)


def _filtered(chain: Chains, messages: _Messages, labels: jax.Array) -> jax.Array:
    """Log-probabilities ``[R, S, K]`` of the tags at each position, given the labels before it."""
    back = _Log.of(chain.steps.T)
    tags = chain.scores.shape[-1]
    states = jnp.arange(tags + 1)
    begin = jnp.where(states == tags, 0.0, -jnp.inf).astype(chain.scores.dtype)

    def step(before: jax.Array, inputs: tuple[jax.Array, ...]):
        ahead, sums, inside, first, label = inputs
        before = jnp.where(first, begin, before)
        # States that nothing follows have no probability.
        alive = jnp.isfinite(before) & jnp.isfinite(sums)
        rest = jnp.where(alive, jnp.where(alive, before, 0) - jnp.where(alive, sums, 0), -jnp.inf)
        log_p = back.sums(_up_to_a_number(rest)) + ahead
        log_p = _normalized(log_p)
        kept = jnp.where((label < 0) | (states[:-1] == label), log_p, -jnp.inf)
        # After a label there is one state, however improbable it was.
        kept = jnp.where(label < 0, kept, jnp.where(states[:-1] == label, 0.0, -jnp.inf))
        new = jnp.pad(kept, ((0, 0), (0, 1)), constant_values=-jnp.inf)
        return jnp.where(inside, new, before), log_p

    flags = (chain.inside[..., None], chain.first[..., None], labels[..., None])
    inputs = [jnp.swapaxes(part, 0, 1) for part in (*messages, *flags)]
    before = jnp.broadcast_to(begin, (len(labels), tags + 1))
    _, log_p = jax.lax.scan(step, before, tuple(inputs))
    return jnp.swapaxes(log_p, 0, 1)


class _Log(NamedTuple):
    """A matrix ``[I, J]`` of logarithms, by which sums are products of matrices.

    Attributes:
      logs: the matrix.
      top: ``[I]``, its largest elements; 0 where there are none.
      scaled: ``[I, J]``, ``exp(logs - top)``.
    """

    logs: jax.Array
    top: jax.Array
    scaled: jax.Array

    @classmethod
    def of(cls, logs: jax.Array) -> "_Log":
        top = _finite_top(logs, axis=1)
        return cls(logs, top, jnp.exp(logs - top[:, None]))

    def sums(self, values: jax.Array) -> jax.Array:
        """``log sum_j exp(logs[i, j] + values[r, j])``, ``[R, I]``, of values of 0 at most.

        A product of matrices has no room for numbers further apart than a float's exponents: where
        a sum is so small, all are computed with logarithms.
        """
        small = jnp.finfo(values.dtype).tiny * 1e8
        total = jnp.einsum("rj,ij->ri", jnp.exp(values), self.scaled, precision="highest")
        return jax.lax.cond(
            jnp.any(total < small),
            jax.checkpoint(lambda: _log_sum(self.logs + values[:, None])),
            lambda: jnp.log(jnp.maximum(total, small)) + self.top,
        )


def _log_sum(logs: jax.Array) -> jax.Array:
    """``log sum exp`` over the last axis, minus infinity without a gradient where all are."""
    top = _finite_top(logs, axis=-1)
    total = jnp.sum(jnp.exp(logs - top[..., None]), axis=-1)
    empty = total == 0
    return jnp.where(empty, -jnp.inf, jnp.log(jnp.where(empty, 1, total)) + top)


def _finite_top(values: jax.Array, axis: int) -> jax.Array:
    top = jax.lax.stop_gradient(jnp.max(values, axis=axis))
    return jnp.where(jnp.isfinite(top), top, 0)


def _up_to_a_number(values: jax.Array) -> jax.Array:
    """Values whose largest is 0, so that sums over long texts do not lose digits."""
    return values - _finite_top(values, axis=-1)[:, None]


def _normalized(logs: jax.Array) -> jax.Array:
    total = _log_sum(logs)
    return logs - jnp.where(jnp.isfinite(total), total, 0)[:, None]


def _picked(values: jax.Array, index: jax.Array) -> jax.Array:
    """Values ``[R, S]`` at an index in the last axis, 0 for one below 0."""
    # Not a gather, whose gradient is a scatter: slow on CPUs.
    here = jnp.arange(values.shape[-1]) == jnp.maximum(index, 0)[..., None]
    return jnp.sum(jnp.where(here, values, 0), axis=-1)
