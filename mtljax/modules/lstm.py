"""The LSTM encoder over packed rows."""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtljax.modules.by_position import (
    adapted,
    by_position,
    with_bottleneck,
    with_experts,
    with_film,
    with_stitch,
)
from mtljax.modules.dropout import LockedDropout, Masked
from mtljax.modules.named_axes import named, named_dense


def lstm(
    inputs: jax.Array, recurrent: jax.Array, starts: jax.Array, *, reverse: bool = False
) -> jax.Array:
    """Run one LSTM layer over rows that hold several segments.

    Hochreiter and Schmidhuber 1997, with the forget bias of 1 of Jozefowicz et al. 2015. The
    projection of the inputs is done before the scan, as one large product; the scan is left with
    the recurrent product alone.

    Args:
      inputs: ``[R, S, 4 H]``, projected inputs with the biases: input, forget, cell, output gate.
      recurrent: ``[H, 4 H]``.
      starts: ``[R, S]`` bool, true where a segment starts in the direction of travel: the state is
        zero before that position.
      reverse: travel from the last position to the first.

    Returns:
      Hidden states ``[R, S, H]``.
    """
    return _run(inputs, recurrent, starts, reverse=reverse)[1]


class LSTMState(NamedTuple):
    """The state of a layer after the last position that it has read: ``[R, H]`` each."""

    cell: jax.Array
    hidden: jax.Array


def lstm_step(projected: jax.Array, recurrent: jax.Array, state: LSTMState) -> LSTMState:
    """Read one position: projected inputs ``[R, 4 H]``, to the state after it."""
    gates = projected + state.hidden @ recurrent
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    cell = nn.sigmoid(f + 1.0) * state.cell + nn.sigmoid(i) * jnp.tanh(g)
    return LSTMState(cell, nn.sigmoid(o) * jnp.tanh(cell))


def _run(
    inputs: jax.Array, recurrent: jax.Array, starts: jax.Array, *, reverse: bool
) -> tuple[LSTMState, jax.Array]:
    def step(state: LSTMState, slices: tuple[jax.Array, jax.Array]):
        projected, start = slices
        keep = 1.0 - start[:, None].astype(projected.dtype)
        state = lstm_step(projected, recurrent, LSTMState(*(x * keep for x in state)))
        return state, state.hidden

    zero = jnp.zeros((inputs.shape[0], recurrent.shape[0]), inputs.dtype)
    time_major = jnp.swapaxes(inputs, 0, 1), jnp.swapaxes(starts, 0, 1)
    state, hidden = jax.lax.scan(step, LSTMState(zero, zero), time_major, reverse=reverse)
    return state, jnp.swapaxes(hidden, 0, 1)


def segment_starts(segments: jax.Array, *, reverse: bool = False) -> jax.Array:
    """Where a segment begins (or, in ``reverse``, ends): ``[R, S]`` int to ``[R, S]`` bool."""
    edge = jnp.full_like(segments[:, :1], -1)
    if reverse:
        neighbours = jnp.concatenate([segments[:, 1:], edge], axis=1)
    else:
        neighbours = jnp.concatenate([edge, segments[:, :-1]], axis=1)
    return segments != neighbours


class LSTMEncoder(nn.Module):
    """A stack of LSTM layers, causal or bidirectional.

    Attributes:
      features: width of the output; each direction has half of it when bidirectional.
      layers: number of layers.
      bidirectional: read each segment in both directions.
      dropout: probability that a feature is dropped between layers and at the output.
      recurrent_dropout: probability that a recurrent weight is dropped for the whole step
        (DropConnect, Wan et al. 2013; Merity et al. 2018).
      dtype: dtype of the computation.
    """

    features: int
    layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Make the parameters of all layers and directions."""
        directions = ("", "_reverse") if self.bidirectional else ("",)
        if self.features % len(directions):
            raise ValueError(f"features must be even for two directions, got {self.features}")
        size = self.features // len(directions)
        names = [[f"layer_{i}{direction}" for direction in directions] for i in range(self.layers)]
        recurrent_init = named(_per_gate(nn.initializers.orthogonal()), ("features", "gates"))
        inputs_init = named_dense(("features", "gates"), ("gates",))
        self.recurrent = [
            [self.param(f"{name}_recurrent", recurrent_init, (size, 4 * size)) for name in layer]
            for layer in names
        ]
        self.inputs = [
            [
                nn.Dense(4 * size, name=f"{name}_inputs", dtype=self.dtype, **inputs_init)
                for name in layer
            ]
            for layer in names
        ]
        self.dropouts = [
            LockedDropout(self.dropout, name=f"LockedDropout_{i}") for i in range(self.layers)
        ]

    def __call__(
        self,
        x: jax.Array,
        segments: jax.Array,
        masked: Masked | None = None,
        *,
        train: bool,
    ) -> jax.Array:
        """Encode packed segments.

        Args:
          x: ``[R, S, E]``, what is read.
          segments: ``[R, S]``, which text a position belongs to.
          masked: what has dropout masks of its own; None for rows 0 to R - 1.
          train: whether dropout is on.

        Returns:
          ``[R, S, D]``.
        """
        return self._scan_positions(x, segments, masked, train=train)[0]

    def prefill(self, x: jax.Array, segments: jax.Array) -> tuple[jax.Array, tuple[LSTMState, ...]]:
        """Encode prompts that end at the last column, and return what `decode_step` continues from.

        Args:
          x: ``[R, L, E]``, what is read.
          segments: ``[R, L]``.

        Returns:
          ``[R, L, D]``, and the `LSTMState` of each layer after the last column.

        Raises:
          ValueError: if the encoder is bidirectional.
        """
        if self.bidirectional:
            raise ValueError("a bidirectional LSTM cannot read token by token")
        return self._scan_positions(x, segments, None, train=False)

    def decode_step(
        self, x: jax.Array, states: Sequence[LSTMState]
    ) -> tuple[jax.Array, tuple[LSTMState, ...]]:
        """Encode one more position a row.

        Args:
          x: ``[R, 1, E]``, what is read.
          states: of every layer.

        Returns:
          ``[R, 1, D]``, and the new states.
        """
        x, after = x[:, 0], []
        layers = zip(self.inputs, self.recurrent, states, strict=True)
        for layer, ((inputs,), (recurrent,), state) in enumerate(layers):
            after.append(lstm_step(adapted(inputs, x), recurrent.astype(self.dtype), state))
            x = with_bottleneck(self, f"layer_{layer}_adapter", after[-1].hidden)
            x = with_experts(self, f"layer_{layer}_experts", x, x)
            x = with_film(self, f"layer_{layer}_film", x)
        return x[:, None], tuple(after)

    def _scan_positions(
        self, x: jax.Array, segments: jax.Array, masked: Masked | None, *, train: bool
    ) -> tuple[jax.Array, tuple[LSTMState, ...]]:
        """The output, and the state in which each layer's first direction ends."""
        states = []
        for layer in range(self.layers):
            outputs = []
            for direction, weights in enumerate(self.recurrent[layer]):
                recurrent = weights.astype(self.dtype)
                if train and self.recurrent_dropout:
                    keep = 1.0 - self.recurrent_dropout
                    mask = jax.random.bernoulli(self.make_rng("dropout"), keep, recurrent.shape)
                    recurrent = jnp.where(mask, recurrent / keep, 0)
                projected = by_position(self.inputs[layer][direction], x)
                starts = segment_starts(segments, reverse=direction == 1)
                state, hidden = _run(projected, recurrent, starts, reverse=direction == 1)
                outputs.append((state, hidden))
            states.append(outputs[0][0])
            hidden = [output for _, output in outputs]
            x = jnp.concatenate(hidden, axis=-1) if len(hidden) > 1 else hidden[0]
            x = with_bottleneck(self, f"layer_{layer}_adapter", x)
            x = with_experts(self, f"layer_{layer}_experts", x, x)
            x = with_film(self, f"layer_{layer}_film", x)
            x = with_stitch(self, f"layer_{layer}_stitch", x)
            x = self.dropouts[layer](x, masked, train=train)
        return x, tuple(states)


def _per_gate(initializer):
    """Initialize each of the four gates' square blocks on its own."""

    def init(key, shape, dtype=jnp.float32):
        size = shape[0]
        keys = jax.random.split(key, 4)
        return jnp.concatenate([initializer(k, (size, size), dtype) for k in keys], axis=1)

    return init
