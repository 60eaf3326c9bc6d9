"""Slices of splits and files, in the notation of TFDS: `train[:90%]+test[10:]`."""

import re
from dataclasses import dataclass

_SLICE = re.compile(r"\[\s*(?:(-?[\d.]+)\s*(%?))?\s*:\s*(?:(-?[\d.]+)\s*(%?))?\s*\]$")


@dataclass(frozen=True)
class Slice:
    """Consecutive rows of a split or file.

    Attributes:
        name: name of the split or file.
        start: the first row; negative counts from the end; None for 0.
        stop: the row after the last; negative counts from the end; None for the end.
        percent: whether `start` and `stop` are percentages of the rows.
    """

    name: str
    start: float | None = None
    stop: float | None = None
    percent: bool = False

    @property
    def everything(self) -> bool:
        """Whether it takes all rows."""
        return self.start is None and self.stop is None

    def rows(self, size: int) -> range:
        """The rows it takes of `size` rows; percentages are rounded to the nearest, as in TFDS.

        Raises:
            ValueError: if it reaches beyond the rows.

        >>> Slice("train", None, 90, percent=True).rows(25)
        range(0, 22)
        """

        def bound(value: float | None, default: int) -> int:
            if value is None:
                return default
            row = round(value * size / 100) if self.percent else int(value)
            if abs(row) > size:
                raise ValueError(f"the slice reaches row {row} of {size}")
            return row + size if row < 0 else row

        start, stop = bound(self.start, 0), bound(self.stop, size)
        return range(start, max(start, stop))


def parse_slices(text: str) -> tuple[Slice, ...]:
    """Parses slices that are joined by `+`.

    Args:
        text: `name`, `name[start:stop]` or several of them; `start` and `stop` are row numbers or
            percentages, negative from the end, and may be left out.

    Raises:
        ValueError: if the text is not of this form.

    >>> parse_slices("train[:90%]+test")
    (Slice(name='train', start=None, stop=90.0, percent=True), Slice(name='test', start=None, \
stop=None, percent=False))
    """
    return tuple(_slice(part.strip()) for part in text.split("+"))


def _slice(text: str) -> Slice:
    match = _SLICE.search(text)
    name = text[: match.start()].strip() if match else text
    if not name and match is None:
        raise ValueError(f"{text!r} names no split or file")
    if match is None:
        if re.search(r"\[[^\]]*:[^\]]*\]?$", name):
            raise ValueError(f"{text!r} is not a slice such as name[:90%] or name[10:]")
        return Slice(name)
    start, start_unit, stop, stop_unit = match.groups()
    units = {u for value, u in ((start, start_unit), (stop, stop_unit)) if value is not None}
    if len(units) > 1:
        raise ValueError(f"{text!r} mixes rows and percentages")
    percent = units == {"%"}
    try:
        low, high = (
            None if value is None else float(value) if percent else int(value)
            for value in (start, stop)
        )
    except ValueError:
        raise ValueError(f"{text!r}: row numbers are whole") from None
    if percent and any(abs(value) > 100 for value in (low, high) if value is not None):
        raise ValueError(f"{text!r} reaches beyond 100 %")
    return Slice(name, low, high, percent)
