"""One task: what to read, which head, which loss, which metrics."""

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from mtljax.errors import UserError
from mtljax.kinds import KINDS, chosen_loss
from mtljax.span_schemes import ALIASES, SCHEMES, canonical
from mtljax.tasks.dataset import Dataset
from mtljax.tasks.suggest import suggestion

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
_TEXT_FIELDS = ("kind", "targets", "references", "weights", "loss")
_REQUIRED = ("kind",)


@dataclass(frozen=True)
class Task:
    """One task of a multi-task problem.

    Attributes:
        name: how the task is called in files, figures and messages.
        dataset: an embedded set, a directory in TFDS format, or one of `sources`; several, whose
            rows are read one after the other as those of one set, as a tuple.
        kind: a name in `mtljax.kinds.KINDS`: `classification`, `multilabel`, `tagging`,
            `language_model`, `text_to_text` or `regression`.
        inputs: the feature that is read: a text or a list of words; or several of them, which are
            read one after another.
        targets: the feature to be predicted; a language model has none, its targets are the text.
        references: the feature with reference texts, for `text_to_text`.
        weights: the feature with the weight `alpha_ij` of each sample; without one, 1.
        rate: share of the step's tokens, in (0, 1], or two of them: at the start of the run and at
            its end. Without one, by the settings of the mixture.
        batch_size: examples a step, instead of `rate`.
        weight: the weight `alpha_i` of the task in the objective.
        max_length: pieces of an example that are read at most, the start mark among them. The text
            of a language model that shares its input group with no other kind is not cut off but
            read in consecutive chunks of this length.
        metrics: names of metrics, the main one first; without any, by kind.
        loss: name of the loss; without one, by kind.
        class_weights: `balanced`, or the weight of each class by its name (1 for those not named):
            the training loss of a target is multiplied by the weight of its class.
        scheme: how tags mark spans, a name in `mtljax.span_schemes.SCHEMES`, an alias of one such
            as `iob2`, or `none`; without one, by their names.
        constrained: whether the tags that are predicted for a text are the best sequence that the
            scheme allows, not each the best of its word; a `crf` always does so.
        label_smoothing: probability mass that is spread evenly over the classes, in [0, 1).
        head: the name of a head that it has together with the other tasks that name it; without
            one, it has a head of its own.
        own_head: whether it has a head of its own besides `head`, whose predictions are added.
        rename_words: for `text_to_text`, the probability in [0, 1] that a word which source and
            answer share is another word in both, in training: practice in copying.
        sources: the descriptions of those of its data sets that a tasks file describes; no field of
            a task's entry there.

    Raises:
        UserError: with the task and the field, if a value cannot be used.

    >>> Task("plot", dataset="movie_lm", kind="language_model", inputs="text").weight
    1.0
    """

    name: str
    dataset: str | tuple[str, ...]
    kind: str
    inputs: str | tuple[str, ...]
    targets: str | None = None
    references: str | None = None
    weights: str | None = None
    rate: float | tuple[float, float] | None = None
    batch_size: int | None = None
    weight: float = 1.0
    max_length: int | None = None
    metrics: tuple[str, ...] = ()
    loss: str | None = None
    label_smoothing: float = 0.0
    scheme: str | None = None
    constrained: bool = False
    class_weights: str | tuple[tuple[str, float], ...] | None = None
    rename_words: float = 0.0
    head: str | None = None
    own_head: bool = False
    sources: tuple[Dataset, ...] = ()

    @property
    def datasets(self) -> tuple[str, ...]:
        """The names of its data sets, one or several."""
        return (self.dataset,) if isinstance(self.dataset, str) else self.dataset

    @property
    def source_name(self) -> str:
        """The name of what it reads: those of its data sets, joined by `+`."""
        return "+".join(self.datasets)

    @property
    def features(self) -> frozenset[str]:
        """The names of the features that it reads."""
        found: set[str] = set()
        for value in (self.inputs, self.targets, self.references, self.weights):
            found.update((value,) if isinstance(value, str) else value or ())
        return frozenset(found)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise UserError(
                f"task name {self.name!r}: use letters, digits, '_', '-' and '.' (quote a number)"
            )
        _check_datasets(self)
        _check_text(self)
        _check_inputs(self)
        kind = KINDS.get(self.kind)
        if kind is None:
            self._refuse("kind", f"unknown kind {self.kind!r}{suggestion(self.kind, KINDS)}")
        else:
            if kind.needs_targets and self.targets is None:
                self._refuse("targets", f"a task of kind {self.kind} needs one")
            if not kind.needs_targets and self.targets is not None:
                self._refuse("targets", f"a task of kind {self.kind} takes none")
            if self.references is not None and kind.writes != "answer":
                self._refuse("references", f"a task of kind {self.kind} takes none")
            if len(self.parts) > 1 and not kind.several_inputs:
                self._refuse("inputs", f"a task of kind {self.kind} reads one feature")
            if self.loss is not None and self.loss not in kind.losses:
                known = suggestion(self.loss, kind.losses)
                self._refuse("loss", f"unknown loss {self.loss!r} for {self.kind}{known}")
            for metric in self.metrics:
                if metric not in kind.metrics:
                    known = suggestion(metric, kind.metrics)
                    self._refuse("metrics", f"unknown metric {metric!r} for {self.kind}{known}")
            _check_scheme(self)
            _check_class_weights(self)
            _check_head(self)
        _check_numbers(self)

    @property
    def parts(self) -> tuple[str, ...]:
        """The features that are read, one after another; most tasks have one."""
        return (self.inputs,) if isinstance(self.inputs, str) else self.inputs

    def _refuse(self, field: str, reason: str) -> NoReturn:
        raise UserError(f"task {self.name!r}, field {field!r}: {reason}")


FIELDS: tuple[str, ...] = tuple(
    f.name for f in dataclasses.fields(Task) if f.name not in ("name", "sources")
)
"""The fields of a task in a tasks file."""


def _check_datasets(task: Task) -> None:
    names = task.dataset
    several = isinstance(names, tuple | list)
    if several:
        names = tuple(names)
        object.__setattr__(task, "dataset", names)
    for name in names if several else (names,):
        if not isinstance(name, str) or not name:
            task._refuse("dataset", f"expected a name, got {name!r}")
    if not names:
        task._refuse("dataset", "names no data set")
    if len(set(task.datasets)) < len(task.datasets):
        task._refuse("dataset", f"a name appears twice in {list(task.datasets)}")
    described = [source.name for source in task.sources]
    for name in described:
        if described.count(name) > 1:
            task._refuse("sources", f"duplicate source name {name!r}")
        if name not in task.datasets:
            task._refuse("sources", f"{name!r} is not a data set of the task")


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


def _check_inputs(task: Task) -> None:
    inputs = [task.inputs] if isinstance(task.inputs, str) else task.inputs
    if not isinstance(inputs, tuple | list) or not all(isinstance(i, str) and i for i in inputs):
        task._refuse("inputs", f"expected a name or a list of names, got {task.inputs!r}")
    if not inputs:
        task._refuse("inputs", "names no feature")
    if len(set(inputs)) < len(inputs):
        task._refuse("inputs", f"a name appears twice in {list(inputs)}")
    object.__setattr__(task, "inputs", inputs[0] if len(inputs) == 1 else tuple(inputs))


def _check_scheme(task: Task) -> None:
    if not isinstance(task.constrained, bool):
        task._refuse("constrained", f"expected true or false, got {task.constrained!r}")
    if task.constrained and not KINDS[task.kind].has_spans:
        task._refuse("constrained", f"a task of kind {task.kind} is not")
    if task.constrained and task.scheme is not None and canonical(task.scheme) == "none":
        task._refuse("constrained", "needs a scheme, got 'none'")
    if task.scheme is None:
        return
    if not KINDS[task.kind].has_spans:
        task._refuse("scheme", f"a task of kind {task.kind} takes none")
    scheme = canonical(task.scheme)
    if scheme is None:
        known = suggestion(task.scheme, (*SCHEMES, *ALIASES, "none"))
        task._refuse("scheme", f"unknown scheme {task.scheme!r}{known}")
    object.__setattr__(task, "scheme", scheme)
    if scheme == "none" and "span_f1" in task.metrics:
        task._refuse("metrics", "span_f1 needs a scheme, got 'none'")


def _check_class_weights(task: Task) -> None:
    given: Any = task.class_weights
    if given is None:
        return
    if not KINDS[task.kind].has_classes:
        task._refuse("class_weights", f"a task of kind {task.kind} takes none")
    if isinstance(given, str):
        if given != "balanced":
            task._refuse("class_weights", f"expected 'balanced' or weights, got {given!r}")
        return
    pairs = list(given.items()) if isinstance(given, Mapping) else given
    if not pairs or not isinstance(pairs, tuple | list):
        task._refuse("class_weights", f"expected 'balanced' or weights by class, got {given!r}")
    checked = []
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            task._refuse("class_weights", f"expected a class and its weight, got {pair!r}")
        label, weight = pair
        if isinstance(label, bool) or not isinstance(label, str | int):
            task._refuse("class_weights", f"expected the name of a class, got {label!r} (quote it)")
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            task._refuse("class_weights", f"class {label!r}: expected a number, got {weight!r}")
        if not 0 <= weight < math.inf:
            task._refuse("class_weights", f"class {label!r}: {weight!r} is not in [0, inf)")
        checked.append((str(label), float(weight)))
    if len(dict(checked)) < len(checked):
        task._refuse("class_weights", "a class appears twice")
    object.__setattr__(task, "class_weights", tuple(checked))


def _check_head(task: Task) -> None:
    if not isinstance(task.own_head, bool):
        task._refuse("own_head", f"expected true or false, got {task.own_head!r}")
    if task.head is None:
        if task.own_head:
            task._refuse("own_head", "is for a task with a shared head, which 'head' names")
        return
    if not isinstance(task.head, str) or not _NAME.fullmatch(task.head):
        task._refuse("head", f"{task.head!r}: use letters, digits, '_', '-' and '.'")
    if KINDS[task.kind].writes:
        task._refuse("head", f"a task of kind {task.kind} shares none: it predicts words")


def _check_numbers(task: Task) -> None:
    def number(
        field: str, value: object, low: float, high: float, *, open_low: bool, open_high: bool
    ) -> None:
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

    kind = KINDS[task.kind]
    number("weight", task.weight, 0, math.inf, open_low=False, open_high=True)
    number("label_smoothing", task.label_smoothing, 0, 1, open_low=False, open_high=True)
    number("rename_words", task.rename_words, 0, 1, open_low=False, open_high=False)
    if task.rename_words and kind.writes != "answer":
        task._refuse("rename_words", f"a task of kind {task.kind} takes none")
    if isinstance(task.rate, list | tuple):
        if len(task.rate) != 2:
            task._refuse("rate", f"expected a number or two, got {task.rate!r}")
        object.__setattr__(task, "rate", tuple(task.rate))
    if task.rate is not None:
        for rate in task.rate if isinstance(task.rate, tuple) else (task.rate,):
            number("rate", rate, 0, 1, open_low=True, open_high=False)
    loss = chosen_loss(kind, task.loss)
    if task.label_smoothing and loss not in kind.smoothed_losses:
        task._refuse("label_smoothing", f"not for {task.kind} with loss {loss!r}")
    # Each part of the inputs has its mark.
    for field, least in (("batch_size", 1), ("max_length", max(2, len(task.parts)))):
        value = getattr(task, field)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            task._refuse(field, f"expected a whole number, got {value!r}")
        if value < least:
            task._refuse(field, f"{value} is less than {least}")
    if task.rate is not None and task.batch_size is not None:
        task._refuse("batch_size", "give either rate or batch_size, not both")
