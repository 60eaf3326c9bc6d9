"""F1 over spans of tags, on the host."""

from collections.abc import Iterable, Sequence

from mtljax.metrics.states import F1


def spans(tags: Iterable[str]) -> list[tuple[str, int, int]]:
    """Reads the spans of one sequence of BIO tags, as conlleval does.

    A span starts at ``B-x``, and at an ``I-x`` that does not continue a span of type x. It ends
    before the next ``O``, ``B-`` or other type. ``B`` and ``I`` alone have the type ``''``.

    Args:
      tags: ``'O'``, ``'B-type'`` or ``'I-type'``.

    Returns:
      ``(type, start, end)`` in order, with `end` exclusive.

    Raises:
      ValueError: a tag of another form.

    >>> spans(["B-toloc", "I-toloc", "O", "I-time", "B-time"])
    [('toloc', 0, 2), ('time', 3, 4), ('time', 4, 5)]
    """
    found: list[tuple[str, int, int]] = []
    kind, start, position = None, 0, -1
    for position, tag in enumerate(tags):
        prefix, _, name = tag.partition("-")
        if prefix not in ("B", "I") and tag != "O":
            raise ValueError(f"tags: expected 'O', 'B-...' or 'I-...', got {tag!r}")
        if kind is not None and (prefix != "I" or name != kind):
            found.append((kind, start, position))
            kind = None
        if prefix != "O" and kind is None:
            kind, start = name, position
    if kind is not None:
        found.append((kind, start, position + 1))
    return found


def span_f1(predictions: Sequence[Sequence[str]], targets: Sequence[Sequence[str]]) -> F1:
    """Counts for the span F1 of CoNLL: a span is right if its type and both ends are.

    Tjong Kim Sang and Buchholz, "Introduction to the CoNLL-2000 Shared Task", 2000. The same
    figure as conlleval's ``FB1`` / 100 over all types.

    Args:
      predictions: sequences of BIO tags.
      targets: sequences of BIO tags, of the same lengths.

    Returns:
      An `F1` state of Python integers.

    Raises:
      ValueError: lengths differ, or a tag is not BIO.

    >>> span_f1([["B-a", "I-a", "O"]], [["B-a", "I-a", "B-b"]])
    F1(true_positives=1, predicted=1, actual=2)
    """
    if len(predictions) != len(targets):
        raise ValueError(
            f"predictions and targets: {len(predictions)} and {len(targets)} sequences"
        )
    right = given = there = 0
    for index, (answer, label) in enumerate(zip(predictions, targets, strict=True)):
        if len(answer) != len(label):
            raise ValueError(
                f"predictions and targets: {len(answer)} and {len(label)} tags in sequence {index}"
            )
        answers, labels = set(spans(answer)), set(spans(label))
        right += len(answers & labels)
        given += len(answers)
        there += len(labels)
    return F1(right, given, there)
