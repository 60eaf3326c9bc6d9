"""One task: what to read, which head, which loss, which metrics."""

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import NoReturn

from mtljax.errors import UserError
from mtljax.tasks.kinds import KINDS
from mtljax.tasks.suggest import suggestion

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
_TEXT_FIELDS = ("dataset", "kind", "inputs", "targets", "references", "weights", "loss")
_REQUIRED = ("dataset", "kind", "inputs")


@dataclass(frozen=True)
class Task:
    """One task of a multi-task problem.

    Attributes:
        name: how the task is called in files, figures and messages.
        dataset: an embedded set, or a directory in TFDS format.
        kind: `classification`, `tagging`, `language_model` or `regression`.
        inputs: the feature that is read: a text or a list of words.
        targets: the feature to be predicted; a language model has none, its targets are the text.
        references: the feature with reference texts, for `text_to_text`.
        weights: the feature with the weight `alpha_ij` of each sample; without one, 1.
        rate: share of the step's tokens, in (0, 1]; without one, in proportion to the data.
        batch_size: examples a step, instead of `rate`.
        weight: the weight `alpha_i` of the task in the objective.
        max_length: pieces of an example that are read at most, the start mark among them. The text
            of a language model that shares its input group with no other kind is not cut off but
            read in consecutive chunks of this length.
        metrics: names of metrics, the main one first; without any, by kind.
        loss: name of the loss; without one, by kind.
        label_smoothing: probability mass that is spread evenly over the classes, in [0, 1).

    Raises:
        UserError: with the task and the field, if a value cannot be used.

    >>> Task("plot", dataset="movie_lm", kind="language_model", inputs="text").weight
    1.0
    """

    name: str
    dataset: str
    kind: str
    inputs: str
    targets: str | None = None
    references: str | None = None
    weights: str | None = None
    rate: float | None = None
    batch_size: int | None = None
    weight: float = 1.0
    max_length: int | None = None
    metrics: tuple[str, ...] = ()
    loss: str | None = None
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise UserError(
                f"task name {self.name!r}: use letters, digits, '_', '-' and '.' (quote a number)"
            )
        _check_text(self)
        kind = KINDS.get(self.kind)
        if kind is None:
            self._refuse("kind", f"unknown kind {self.kind!r}{suggestion(self.kind, KINDS)}")
        elif not kind.supported:
            self._refuse("kind", f"{self.kind} is not yet supported")
        else:
            if kind.needs_targets and self.targets is None:
                self._refuse("targets", f"a task of kind {self.kind} needs one")
            if not kind.needs_targets and self.targets is not None:
                self._refuse("targets", f"a task of kind {self.kind} takes none")
            if self.loss is not None and self.loss not in kind.losses:
                known = suggestion(self.loss, kind.losses)
                self._refuse("loss", f"unknown loss {self.loss!r} for {self.kind}{known}")
            for metric in self.metrics:
                if metric not in kind.metrics:
                    known = suggestion(metric, kind.metrics)
                    self._refuse("metrics", f"unknown metric {metric!r} for {self.kind}{known}")
        _check_numbers(self)

    def _refuse(self, field: str, reason: str) -> NoReturn:
        raise UserError(f"task {self.name!r}, field {field!r}: {reason}")


FIELDS: tuple[str, ...] = tuple(f.name for f in dataclasses.fields(Task) if f.name != "name")
"""The fields of a task in a tasks file."""


def _check_text(task: Task) -> None:
    for field in _TEXT_FIELDS:
        value = getattr(task, field)
        if value is None and field not in _REQUIRED:
            continue
        if not isinstance(value, str) or not value:
            task._refuse(field, f"expected a name, got {value!r}")
    metrics = task.metrics
    if isinstance(metrics, str):
        metrics = (metrics,)
    if not isinstance(metrics, tuple | list) or not all(isinstance(m, str) for m in metrics):
        task._refuse("metrics", f"expected a list of names, got {metrics!r}")
    if len(set(metrics)) < len(metrics):
        task._refuse("metrics", f"a name appears twice in {list(metrics)}")
    object.__setattr__(task, "metrics", tuple(metrics))


def _check_numbers(task: Task) -> None:
    def number(field: str, low: float, high: float, *, open_low: bool, open_high: bool) -> None:
        value = getattr(task, field)
        if value is None and field == "rate":
            return
        if isinstance(value, bool) or not isinstance(value, int | float):
            task._refuse(field, f"expected a number, got {value!r}")
        try:
            float(value)
        except OverflowError:
            task._refuse(field, "too large a number")
        inside = (value > low if open_low else value >= low) and (
            value < high if open_high else value <= high
        )
        if not inside:
            bounds = f"{'(' if open_low else '['}{low:g}, {high:g}{')' if open_high else ']'}"
            task._refuse(field, f"{value!r} is not in {bounds}")

    number("weight", 0, math.inf, open_low=False, open_high=True)
    number("rate", 0, 1, open_low=True, open_high=False)
    number("label_smoothing", 0, 1, open_low=False, open_high=True)
    for field, least in (("batch_size", 1), ("max_length", 2)):
        value = getattr(task, field)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            task._refuse(field, f"expected a whole number, got {value!r}")
        if value < least:
            task._refuse(field, f"{value} is less than {least}")
    if task.rate is not None and task.batch_size is not None:
        task._refuse("batch_size", "give either rate or batch_size, not both")
