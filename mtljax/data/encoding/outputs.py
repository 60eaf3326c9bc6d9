"""What a task's head predicts: its classes, or the words of its language model."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtljax.data.encoding.class_weights import class_weights
from mtljax.data.encoding.labels import is_missing
from mtljax.data.sources.source import Source
from mtljax.data.tokenizers import END, OOV, SPECIALS, Tokenizer
from mtljax.data.tokenizers.words import count_words
from mtljax.errors import UserError
from mtljax.tasks.choices import metric_names, span_scheme
from mtljax.tasks.kinds import KINDS
from mtljax.tasks.span_schemes import misfit
from mtljax.tasks.task import Task


@dataclass(frozen=True)
class Output:
    """The output of one task.

    Attributes:
        num_classes: number of classes; 1 for regression.
        classes: their names; empty for regression and for language models.
        ids: for a language model int32 `[num_classes]`, the input id of each class: class 0 is
            `<oov>`, class 1 `</s>`, then the words; else None.
        class_weights: weights of the classes in training; empty where all weigh 1.
    """

    num_classes: int
    classes: tuple[str, ...] = ()
    ids: np.ndarray | None = None
    class_weights: tuple[float, ...] = ()

    def class_of_id(self, vocab_size: int) -> np.ndarray:
        """int32 `[vocab_size]`, the class of each input id; 0 (`<oov>`) for ids that have none."""
        table = np.zeros(vocab_size, np.int32)
        if self.ids is not None:
            table[self.ids] = np.arange(self.num_classes, dtype=np.int32)
        return table

    def to_json(self) -> dict[str, Any]:
        """The output as plain JSON."""
        ids = None if self.ids is None else self.ids.tolist()
        return {
            "num_classes": self.num_classes,
            "classes": list(self.classes),
            "ids": ids,
            "class_weights": list(self.class_weights),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Output":
        """Reads what `to_json` wrote."""
        ids = content["ids"]
        return cls(
            num_classes=content["num_classes"],
            classes=tuple(content["classes"]),
            ids=None if ids is None else np.asarray(ids, np.int32),
            class_weights=tuple(content["class_weights"]),
        )


def task_output(task: Task, source: Source, tokenizer: Tokenizer) -> Output:
    """Finds out what a task predicts.

    The classes of a task that writes text are, over words, those which the texts that it is to
    write have `min_count` times in its own training split, the most frequent first; over pieces of
    other kinds, all of them. Classes that a data set does not name are those of its training split.

    Args:
        task: the task.
        source: its data set, whose training split is read where need be.
        tokenizer: has the words of the training splits.

    Raises:
        UserError: if the training split has nothing that could be learned.
    """
    if task.kind == "regression":
        return Output(num_classes=1)
    if KINDS[task.kind].writes:
        ids = np.asarray([OOV, END, *_model_ids(task, source, tokenizer)], np.int32)
        return Output(num_classes=len(ids), ids=ids)
    classes = class_names(task, source)
    if not classes:
        raise UserError(f"task {task.name!r}: the train split of {source.name!r} has no targets")
    weights = class_weights(task, classes, source.splits["train"])
    return Output(num_classes=len(classes), classes=classes, class_weights=weights)


def check_spans(task: Task, classes: Sequence[str]) -> None:
    """Checks that the tags of a task fit the scheme by which its spans are to be counted.

    Raises:
        UserError: with the task, the field and a tag that does not.
    """
    if task.kind != "tagging" or "span_f1" not in metric_names(task, classes):
        return
    scheme = span_scheme(task, classes)
    if scheme == "none":
        raise UserError(
            f"task {task.name!r}, field 'metrics': span_f1 needs tags that mark spans, such as "
            f"B-x and I-x, or a 'scheme'; got {', '.join(classes[:5])}"
        )
    wrong = misfit(scheme, classes)
    if wrong is not None:
        raise UserError(f"task {task.name!r}, field 'scheme': tag {wrong!r} is not one of {scheme}")


def _model_ids(task: Task, source: Source, tokenizer: Tokenizer) -> Iterable[int]:
    first = len(SPECIALS)
    settings = tokenizer.settings
    if settings.kind != "words":
        return range(first, tokenizer.vocab_size)
    feature = task.targets or task.parts[0]
    texts = (row[feature] for row in source.splits["train"])
    counts = count_words((text for text in texts if text is not None), settings.lowercase)
    known = {word: i for i, word in enumerate(tokenizer.pieces) if i >= first}
    words = [w for w, n in counts.items() if n >= settings.min_count and w in known]
    return [known[word] for word in sorted(words, key=lambda word: (-counts[word], word))]


def class_names(task: Task, source: Source) -> tuple[str, ...]:
    """Names of the classes or tags of a task, as the data set gives them or train has them."""
    assert task.targets is not None
    feature = source.features[task.targets]
    if feature.classes:
        return feature.classes
    values = (row[task.targets] for row in source.splits["train"])
    if feature.kind in ("tags", "tokens"):
        values = (value for row in values if row is not None for value in row)
    counts = Counter(value for value in values if not is_missing(value))
    if feature.kind in ("text", "tokens"):
        return tuple(sorted(counts))
    whole = [int(value) for value in counts if float(value).is_integer()]
    return tuple(str(i) for i in range(max(whole, default=-1) + 1))
