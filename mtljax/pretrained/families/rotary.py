"""How configurations say what rotary positions and windows a model has, of today and of before."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from mtljax.errors import UserError
from mtljax.modules.architecture import Span
from mtljax.pretrained.fields import Fields

_SPANS: dict[str, Span] = {"full_attention": "global", "sliding_attention": "local"}


class Rotary(NamedTuple):
    """Base and scaling, as fields of an `Architecture`."""

    base: float
    factor: float = 1.0
    original: int = 0
    low: float = 1.0
    high: float = 4.0

    def fields(self) -> dict[str, Any]:
        """The fields of an `Architecture`."""
        return {f"rotary_{name}": value for name, value in self._asdict().items()}


def rotary(
    fields: Fields, span: str = "", old_name: str = "rope_theta", base: float = 1e4
) -> Rotary:
    """Read the rotary positions of a model, or of its layers of one span.

    Args:
      fields: of the configuration.
      span: 'full_attention' or 'sliding_attention', where these have positions of their own.
      old_name: of the field that older versions have the base in.
      base: what it is where no field says so.
    """
    now = fields.get("rope_parameters", dict, {})
    now = now.get(span) or {} if span else now
    before = fields.get("rope_scaling", dict, {}) if span != "sliding_attention" else {}
    base = fields.get(old_name, float, base)
    content = {**before, **now}
    kind = content.pop("rope_type", content.pop("type", "default"))
    content.pop("type", None)
    base = float(content.pop("rope_theta", base))
    if kind == "default":
        known: dict[str, str] = {}
    elif kind == "linear":
        known = {"factor": "factor"}
    elif kind == "llama3":
        known = {
            "factor": "factor",
            "original_max_position_embeddings": "original",
            "low_freq_factor": "low",
            "high_freq_factor": "high",
        }
    else:
        raise UserError(f"{fields.where}: rotary positions of type {kind!r} are not supported")
    if content.keys() != known.keys():
        odd = sorted(content.keys() ^ known.keys())
        raise UserError(f"{fields.where}: rotary positions of type {kind!r} with {odd[0]!r}")
    return Rotary(base, **{known[name]: value for name, value in content.items()})


def local_base(fields: Fields, old_name: str) -> float:
    """The base of the local layers of a model, which have no other scaling.

    Raises:
      UserError: if they have.
    """
    local = rotary(fields, "sliding_attention", old_name)
    if local != Rotary(local.base):
        raise UserError(f"{fields.where}: local layers whose positions are divided")
    return local.base


def window_pattern(layer_types: Sequence[str], fields: Fields) -> tuple[Span, ...]:
    """Which layers see a window, as short as it can be said.

    Raises:
      UserError: if there are layers of another kind.
    """
    for name in layer_types:
        if name not in _SPANS:
            raise UserError(f"{fields.where}: layer_types: {name!r} is not supported")
    spans: tuple[Span, ...] = tuple(_SPANS[name] for name in layer_types)
    for period in range(1, len(spans)):
        if all(span == spans[i % period] for i, span in enumerate(spans)):
            return spans[:period]
    return spans
