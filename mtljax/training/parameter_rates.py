"""Which parameters learn, and how fast: frozen paths, factors of the learning rate, weight decay.

Layers that are stacked along the leading axis of one array have a factor each along that axis.
"""

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtljax.errors import UserError
from mtljax.modules.shared_heads import SHARED_HEADS
from mtljax.modules.structures import PRIVATE, SHARING, structure_of
from mtljax.modules.transformer import LAYERS
from mtljax.presets import Config, OptimizerConfig

_BELOW = re.compile(
    r"^shared/(embedding/|[^/]+/"
    r"(project/|positions/|distances/|relative/|token_types/|embedding_norm/|ngrams_))"
)
"""What an encoder reads before its first layer."""

_ONE_LAYER = re.compile(r"/layer_(\d+)")

_UNDECAYED = ("bias", "scale", "mix", "z", "stitches")
"""Names of parameters that are no matrices, stacked or not: of layers and norms, mixtures, and the
bits of selectors, which decay would draw to where they choose nothing; and mixtures of towers."""

_TOGETHER = f"shared/{SHARED_HEADS}/"
"""Heads that several tasks have together."""

_SHOWN = 160


class Rule(NamedTuple):
    """A factor of the learning rate.

    Attributes:
      pattern: searched for in the path of a parameter.
      factor: 0 or more.
    """

    pattern: re.Pattern[str]
    factor: float


def parse_rates(rates: Sequence[str]) -> list[Rule]:
    """The rules of `optimizer.rates`, each ``REGEX=FACTOR``.

    Raises:
      UserError: naming the rule and what is wrong with it.

    >>> [(rule.pattern.pattern, rule.factor) for rule in parse_rates(["^heads/=10"])]
    [('^heads/', 10.0)]
    """
    rules = []
    for text in rates:
        pattern, equals, number = text.rpartition("=")
        try:
            factor = float(number)
        except ValueError:
            factor = -1.0
        if not equals or not 0 <= factor < float("inf"):
            raise UserError(f"optimizer.rates {text!r}: expected REGEX=FACTOR, a number from 0")
        rules.append(Rule(_compiled("rates", pattern), factor))
    return rules


def frozen_parameters(params: Any, patterns: Sequence[str]) -> Any:
    """Which parameters `optimizer.frozen` names: a tree of bools.

    Args:
      params: a tree of arrays or of their shapes.
      patterns: regular expressions that are searched for in paths such as
        ``shared/transformer/layers/up/kernel``.

    Raises:
      UserError: an expression is not valid.
    """
    compiled = [_compiled("frozen", pattern) for pattern in patterns]

    def of(path: Any, leaf: Any) -> bool:
        del leaf
        return any(pattern.search(_name(path)) for pattern in compiled)

    return jax.tree_util.tree_map_with_path(of, params)


def freezes_encoder(config: Config) -> bool:
    """Whether the structure of sharing leaves the encoder as it is; see `SharingConfig.freeze`."""
    freezes = structure_of(config.sharing).freezes
    if freezes == "never" or config.sharing.freeze == "no":
        return False
    begun = bool(config.encoder.pretrained or config.encoder.from_run)
    return config.sharing.freeze == "yes" or (begun and freezes == "begun")


def frozen_of(config: Config) -> Callable[[Any], Any] | None:
    """From parameters to those that a configuration leaves as they are; None if it names none.

    Args:
      config: the configuration.

    Returns:
      A function from a tree of parameters to a tree of bools.
    """
    patterns = config.optimizer.frozen
    if freezes_encoder(config):
        patterns = (*patterns, f"^shared/(?!{SHARING}/|{SHARED_HEADS}/)")
    return functools.partial(frozen_parameters, patterns=patterns) if patterns else None


def check_patterns(params: Any, config: OptimizerConfig, layers: int = 1) -> None:
    """Check that every expression of a configuration finds a parameter.

    Args:
      params: a tree of arrays or of their shapes.
      config: of the optimizer.
      layers: of the encoder.

    Raises:
      UserError: naming the first expression that is not valid, or finds none.
    """
    top = _layer_count(params, layers)
    stacks = {
        _name(path): _names_by_layer(path, leaf.shape, top)
        for path, leaf in jax.tree.leaves_with_path(params)
    }
    names, by_layer = list(stacks), [one for several in stacks.values() for one in several]
    for pattern in config.frozen:
        search = _compiled("frozen", pattern).search
        # Also where the expression finds other parameters besides: it would not freeze these.
        alone = (several for name, several in stacks.items() if not search(name))
        if any(search(one) for several in alone for one in several):
            raise UserError(
                f"optimizer.frozen {pattern!r}: stacked layers are frozen all or none; "
                f"--optimizer.rates '{pattern}=0' keeps some as they are"
            )
        if not any(map(search, names)):
            raise _not_found("frozen", pattern, names)
    for rule in parse_rates(config.rates):
        if not any(map(rule.pattern.search, [*names, *by_layer])):
            raise _not_found("rates", rule.pattern.pattern, names)


def rate_factors(params: Any, config: OptimizerConfig, layers: int = 1) -> Any:
    """The factors of the learning rate of `optimizer.rates` and `optimizer.layer_decay`.

    Args:
      params: a tree of arrays or of their shapes.
      config: of the optimizer.
      layers: of the encoder, where `params` lacks them.

    Returns:
      A tree like `params` of NumPy arrays, float32, that multiply their parameters: scalars, or
      ``[layers, 1, ...]`` for stacked layers.
    """
    rules = parse_rates(config.rates)
    top = _layer_count(params, layers)

    def of(path: Any, leaf: Any) -> np.ndarray:
        name = _name(path)
        by_rule: Any = _first(rules, (name,))
        if by_layer := _names_by_layer(path, leaf.shape, top):
            # A rule may name a layer: the first that is found counts, with or without its number.
            found = [_first(rules, (name, one)) for one in by_layer]
            by_rule = np.reshape(found, (-1,) + (1,) * (len(leaf.shape) - 1))
        decay = config.layer_decay ** _height(path, leaf.shape, top)
        return np.asarray(by_rule * decay, np.float32)

    return jax.tree_util.tree_map_with_path(of, params)


def is_unfrozen(params: Any, config: OptimizerConfig, layers: int, updates: Any) -> Any:
    """Which parameters learn after some updates, by `optimizer.unfreeze`.

    Heads and what is above the layers learn from the start, then a layer more every
    `config.unfreeze` updates from the last one down, and at last the embedding (gradual unfreezing,
    Howard and Ruder 2018, section 3.3).

    Args:
      params: a tree of arrays or of their shapes.
      config: of the optimizer.
      layers: of the encoder, where `params` lacks them.
      updates: int32 scalar, those done.

    Returns:
      A tree like `params` of booleans that multiply their parameters.
    """
    top = _layer_count(params, layers)

    def of(path: Any, leaf: Any) -> Any:
        return updates >= _height(path, leaf.shape, top) * config.unfreeze

    return jax.tree_util.tree_map_with_path(of, params)


def decayed(params: Any) -> Any:
    """Which parameters weight decay covers: matrices and tables.

    Not biases, scales of norms, mixtures and selectors.
    """

    def of(path: Any, leaf: Any) -> bool:
        return leaf.ndim > 1 and _name(path).rpartition("/")[2] not in _UNDECAYED

    return jax.tree_util.tree_map_with_path(of, params)


def scale_by_factors(config: OptimizerConfig, layers: int = 1) -> optax.GradientTransformation:
    """Multiplies updates by the factors of `rate_factors`, and by 0 where nothing learns yet.

    It comes last, so that the moments of what does not learn yet are there when it does.

    Args:
      config: of the optimizer.
      layers: of the encoder.
    """

    def scaled(updates: Any, factors: Any) -> Any:
        return jax.tree.map(lambda u, factor: u * jnp.asarray(factor, u.dtype), updates, factors)

    if not config.unfreeze:
        return optax.stateless(
            lambda updates, params: scaled(updates, rate_factors(updates, config, layers))
        )

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        learns = is_unfrozen(updates, config, layers, state.count)
        updates = scaled(scaled(updates, rate_factors(updates, config, layers)), learns)
        return updates, optax.ScaleByScheduleState(optax.safe_increment(state.count))

    def init(params: Any) -> optax.ScaleByScheduleState:
        del params
        return optax.ScaleByScheduleState(jnp.zeros((), jnp.int32))

    return optax.GradientTransformation(init, update)


def _first(rules: Sequence[Rule], names: Sequence[str]) -> float:
    found = (rule.factor for rule in rules if any(map(rule.pattern.search, names)))
    return next(found, 1.0)


def _height(path: Any, shape: Sequence[int], top: int) -> Any:
    """How far below the heads: 0 for them and what is above the layers, then 1 for the last layer.

    For stacked layers ``[layers, 1, ...]``.
    """
    start, of_encoder = _divided(path)
    if not _is_encoder(start):
        return 0
    if _BELOW.search(_name(path)):
        return top + 1
    if LAYERS in of_encoder:
        numbers = _numbers(start, shape, top)
        return np.reshape(top - numbers, (-1,) + (1,) * (len(shape) - 1))
    one = _ONE_LAYER.search("/" + "/".join(of_encoder))
    return top - int(one[1]) if one else 0


def _layer_count(params: Any, least: int) -> int:
    counts = [least]
    for path, leaf in jax.tree.leaves_with_path(params):
        start, of_encoder = _divided(path)
        if _is_encoder(start):
            one = _ONE_LAYER.search("/" + "/".join(of_encoder))
            counts += [leaf.shape[0]] if LAYERS in of_encoder else []
            counts += [int(one[1]) + 1] if one else []
    return max(counts)


def _names_by_layer(path: Any, shape: Sequence[int], top: int) -> list[str]:
    """The paths that stacked layers would have apart: ``layers/0/up/kernel``; none of others."""
    start, inside = _divided(path)
    if LAYERS not in inside:
        return []
    at = inside.index(LAYERS) + 1
    before, after = "/".join(inside[:at]), "/".join(inside[at:])
    return [f"{start}{before}/{i}/{after}" for i in _numbers(start, shape, top)]


def _numbers(start: str, shape: Sequence[int], top: int) -> np.ndarray:
    """Which layers are stacked: of private ones, where they are not all, the last."""
    first = top - shape[0] if start.startswith(f"{PRIVATE}/") else 0
    return np.arange(first, first + shape[0])


def _is_encoder(start: str) -> bool:
    return start.startswith(("shared/", f"{PRIVATE}/")) and not start.startswith(_TOGETHER)


def _divided(path: Any) -> tuple[str, list[str]]:
    """Where a parameter lies, with the name of its task or head, and its path in there."""
    keys = [_name((entry,)) for entry in path]
    count = 3 if keys[:2] == ["shared", SHARED_HEADS] else 1 if keys[:1] == ["shared"] else 2
    return "".join(f"{key}/" for key in keys[:count]), keys[count:]


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _compiled(field: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UserError(f"optimizer.{field} {pattern!r}: no regular expression ({error})") from None


def _not_found(field: str, pattern: str, names: Sequence[str]) -> UserError:
    shown = ", ".join(names)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]} ..."
    return UserError(f"optimizer.{field} {pattern!r}: found in the path of no parameter ({shown})")
