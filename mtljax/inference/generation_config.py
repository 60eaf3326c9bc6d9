"""The settings of generated text, their defaults and their ranges."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

from mtljax.errors import UserError
from mtljax.kinds.kind import Kind
from mtljax.tasks import suggestion

MOST_TOKENS = 100_000
"""Tokens that are added to a prompt at most."""

MOST_TEXTS = 10_000
"""Texts of a prompt at most."""


def _setting(default: Any, allowed: str, holds: Callable[[Any], bool]) -> Any:
    """A field with its range, in words and as a function, which `check_generation` reads."""
    return dataclasses.field(default=default, metadata={"allowed": allowed, "holds": holds})


@dataclasses.dataclass(frozen=True)
class GenerationConfig:
    """How text is generated.

    Attributes:
      max_tokens: tokens that are added to a prompt at most.
      temperature: 0 takes the most probable token each time, 1 draws from the model's distribution.
      top_k: draw from that many most probable tokens; 0 for all.
      top_p: draw from the most probable tokens that together have this probability, in (0, 1].
      min_p: draw from the tokens at least this share as probable as the most probable one, in
        [0, 1].
      repetition_penalty: divides the scores of tokens that the text has already, above 0; 1 for
        none.
      no_repeat_ngram: no n tokens in a row twice, for this n; 0 for no such rule.
      beam: partial texts that a beam search for the most probable text keeps; 0 for none. With a
        beam, temperature, top_k, top_p, min_p and seed do not count.
      length_penalty: power of the length that a beam search divides log probabilities by: 0 favours
        short texts, 1 compares means a token, more favours long ones.
      samples: texts for each prompt; with a beam the best ones, at most `beam`.
      stop: end a text before this one, or the first of several.
      seed: of the draws, in [0, 2^32).
      too_long: what happens to a prompt that is longer than the model reads at once: 'refuse', or
        truncation from the 'left' or the 'right'.
    """

    max_tokens: int = _setting(50, f"in [0, {MOST_TOKENS}]", lambda n: 0 <= n <= MOST_TOKENS)
    temperature: float = _setting(
        1.0, "finite and at least 0", lambda t: math.isfinite(t) and t >= 0
    )
    top_k: int = _setting(0, "at least 0", lambda k: k >= 0)
    top_p: float = _setting(1.0, "in (0, 1]", lambda p: 0 < p <= 1)
    min_p: float = _setting(0.0, "in [0, 1]", lambda p: 0 <= p <= 1)
    repetition_penalty: float = _setting(
        1.0, "finite and above 0", lambda factor: math.isfinite(factor) and factor > 0
    )
    no_repeat_ngram: int = _setting(0, "at least 0", lambda n: n >= 0)
    beam: int = 0
    length_penalty: float = _setting(1.0, "finite", math.isfinite)
    samples: int = _setting(1, f"in [1, {MOST_TEXTS}]", lambda n: 1 <= n <= MOST_TEXTS)
    stop: tuple[str, ...] = ()
    seed: int = _setting(0, "in [0, 2^32)", lambda seed: 0 <= seed < 2**32)
    too_long: Literal["refuse", "left", "right"] = "refuse"


EVALUATION = GenerationConfig(max_tokens=128, temperature=0.0, too_long="right")
"""How `Run.evaluate` generates the texts that it compares with their references."""


CONTINUATION = GenerationConfig(max_tokens=50, temperature=0.8, top_p=0.95)
"""The defaults of a language model, from Python and on the command line."""

ANSWER = GenerationConfig(max_tokens=128, temperature=0.0, top_p=0.95)
"""The defaults of text to text."""


def default_config(kind: Kind) -> GenerationConfig:
    """The settings with which tasks of a kind write text unless others are chosen."""
    return ANSWER if kind.writes == "answer" else CONTINUATION


def with_settings(config: GenerationConfig, settings: Mapping[str, Any]) -> GenerationConfig:
    """A configuration in which some settings are replaced.

    Args:
      config: the configuration.
      settings: values by the names of fields; `stop` may also be one text, or a list of texts.

    Returns:
      The new configuration, not yet checked.

    Raises:
      TypeError: naming a setting that there is none of.

    >>> with_settings(GenerationConfig(), {"beam": 4, "stop": "."}).stop
    ('.',)
    """
    known = [field.name for field in dataclasses.fields(config)]
    for name in settings:
        if name not in known:
            raise TypeError(f"unknown setting {name!r}{suggestion(name, known)}")
    changed = dict(settings)
    if "stop" in changed:
        stop = changed["stop"]
        changed["stop"] = (stop,) if isinstance(stop, str) else tuple(stop)
    return dataclasses.replace(config, **changed)


def check_generation(config: GenerationConfig, classes: int) -> None:
    """Check that every setting is in its range.

    Args:
      config: the settings.
      classes: size of the vocabulary that the task chooses from.

    Raises:
      UserError: naming the setting, its range and its value.
    """

    def check(name: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise UserError(f"{name}: must be {allowed}, got {getattr(config, name)}")

    for field in dataclasses.fields(config):
        if "holds" in field.metadata:
            holds = field.metadata["holds"](getattr(config, field.name))
            check(field.name, holds, field.metadata["allowed"])
    # The ranges that depend on the task, or on another setting.
    check("beam", 0 <= config.beam <= classes, f"in [0, {classes}], the size of the vocabulary")
    if config.beam:
        check("samples", config.samples <= config.beam, f"at most the beam, {config.beam}")
    if not all(config.stop):
        raise UserError("stop: a text must not be empty")
    allowed = ("refuse", "left", "right")
    check("too_long", config.too_long in allowed, f"one of {', '.join(allowed)}")
