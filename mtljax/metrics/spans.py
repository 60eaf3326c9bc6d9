"""F1 over spans of tags, on the host."""

from collections.abc import Iterable, Sequence

from mtljax.metrics.states import F1

SCHEMES: dict[str, tuple[str, ...]] = {
    "bio": ("B", "I"),
    "iob1": ("B", "I"),
    "bioes": ("B", "I", "E", "S"),
}
"""The prefixes of tags in each scheme."""


def spans(tags: Iterable[str], scheme: str = "bio") -> list[tuple[str, int, int]]:
    """Returns the spans of one sequence of tags, as conlleval reads them.

    A span starts at ``B-x`` and ``S-x``, and at an ``I-x`` or ``E-x`` that does not continue a span
    of type x. It ends after ``E-x`` and ``S-x``, and before the next ``O``, ``B-``, ``S-`` or other
    type. So a sequence has the same spans in IOB1, where ``B-x`` stands only between two spans of a
    type, as in BIO. ``B`` and ``I`` alone have the type ``''``.

    Args:
      tags: ``'O'`` or a prefix of the scheme, ``-`` and a type.
      scheme: a name out of `SCHEMES`.

    Returns:
      ``(type, start, end)`` in order, with `end` exclusive.

    Raises:
      ValueError: a tag of another form, or no such scheme.

    >>> spans(["B-toloc", "I-toloc", "O", "I-time", "B-time"])
    [('toloc', 0, 2), ('time', 3, 4), ('time', 4, 5)]
    >>> spans(["B-toloc", "E-toloc", "S-toloc"], scheme="bioes")
    [('toloc', 0, 2), ('toloc', 2, 3)]
    """
    if scheme not in SCHEMES:
        raise ValueError(f"scheme must be one of {', '.join(SCHEMES)}, got {scheme!r}")
    prefixes = SCHEMES[scheme]
    result: list[tuple[str, int, int]] = []
    kind, start, position, ended = None, 0, -1, False
    for position, tag in enumerate(tags):
        prefix, _, name = tag.partition("-")
        if prefix not in prefixes and tag != "O":
            expected = ", ".join(f"'{allowed}-...'" for allowed in prefixes)
            raise ValueError(f"tags: expected 'O', {expected} ({scheme}), got {tag!r}")
        if kind is not None and (ended or prefix not in ("I", "E") or name != kind):
            result.append((kind, start, position))
            kind = None
        if prefix != "O" and kind is None:
            kind, start = name, position
        ended = prefix in ("E", "S")
    if kind is not None:
        result.append((kind, start, position + 1))
    return result


def span_f1(
    predictions: Sequence[Sequence[str]], targets: Sequence[Sequence[str]], scheme: str = "bio"
) -> F1:
    """Counts for the span F1 of CoNLL: a span is right if its type and both ends are.

    Tjong Kim Sang and Buchholz, "Introduction to the CoNLL-2000 Shared Task", 2000. The same
    figure as conlleval's ``FB1`` / 100 over all types.

    Args:
      predictions: sequences of tags.
      targets: sequences of tags, of the same lengths.
      scheme: how tags mark spans, a name out of `SCHEMES`.

    Returns:
      An `F1` state of Python integers.

    Raises:
      ValueError: lengths differ, or a tag or the scheme is not known.

    >>> span_f1([["B-a", "I-a", "O"]], [["B-a", "I-a", "B-b"]])
    F1(true_positives=1, predicted=1, actual=2)
    """
    if len(predictions) != len(targets):
        raise ValueError(
            f"predictions and targets: {len(predictions)} and {len(targets)} sequences"
        )
    right = predicted = actual = 0
    for index, (answer, label) in enumerate(zip(predictions, targets, strict=True)):
        if len(answer) != len(label):
            raise ValueError(
                f"predictions and targets: {len(answer)} and {len(label)} tags in sequence {index}"
            )
        answers, labels = set(spans(answer, scheme)), set(spans(label, scheme))
        right += len(answers & labels)
        predicted += len(answers)
        actual += len(labels)
    return F1(right, predicted, actual)
