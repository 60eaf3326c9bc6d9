"""F1 over spans of tags, on the host."""

from collections.abc import Iterable, Sequence

from mtljax.metrics.states import F1
from mtljax.span_schemes import SCHEMES as SCHEMES
from mtljax.span_schemes import named_marks, read_spans


def spans(
    tags: Iterable[str], scheme: str = "bio", names: Iterable[str] = ()
) -> list[tuple[str, int, int]]:
    """Returns the spans of one sequence of tags, as conlleval reads them.

    A span starts at ``B-x`` and ``S-x``, and at an ``I-x`` or ``E-x`` that does not continue a span
    of type x. It ends after ``E-x`` and ``S-x``, and before the next ``O``, ``B-``, ``S-`` or other
    type. So a sequence has the same spans in IOB1, where ``B-x`` stands only between two spans of a
    type, as in BIO. ``B`` and ``I`` alone have the type ``''``. In BILOU, BMES and BMEWO, ``L`` is
    ``E``, ``M`` is ``I``, ``U`` and ``W`` are ``S``; in ``io`` a tag is a type.

    Args:
      tags: ``'O'`` or a letter of the scheme, ``-`` and a type; also ``x-B``, ``B_x`` and the
        like, and ``0``, ``_``, ``-``, ``*`` or ``''`` for ``O``: one spelling for all tags.
      scheme: a name out of `SCHEMES`, or an alias such as ``iob2``.
      names: all tags that there are, which show the spelling; by default those of the sequence.

    Returns:
      ``(type, start, end)`` in order, with `end` exclusive.

    Raises:
      ValueError: a tag of another form, or no such scheme.

    >>> spans(["B-toloc", "I-toloc", "O", "I-time", "B-time"])
    [('toloc', 0, 2), ('time', 3, 4), ('time', 4, 5)]
    >>> spans(["B-toloc", "L-toloc", "U-toloc"], scheme="bilou")
    [('toloc', 0, 2), ('toloc', 2, 3)]
    """
    tags = tuple(tags)
    marks = named_marks(scheme, (*names, *tags))
    return read_spans(marks[tag] for tag in tags)


def span_f1(
    predictions: Sequence[Sequence[str]],
    targets: Sequence[Sequence[str]],
    scheme: str = "bio",
    names: Iterable[str] = (),
) -> F1:
    """Counts for the span F1 of CoNLL: a span is right if its type and both ends are.

    Tjong Kim Sang and Buchholz, "Introduction to the CoNLL-2000 Shared Task", 2000. The same
    figure as conlleval's ``FB1`` / 100 over all types.

    Args:
      predictions: sequences of tags.
      targets: sequences of tags, of the same lengths.
      scheme: how tags mark spans, a name out of `SCHEMES`.
      names: all tags that there are, which show the spelling; by default those of the sequences.

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
    tags = (tag for sequences in (targets, predictions) for tags in sequences for tag in tags)
    marks = named_marks(scheme, dict.fromkeys((*names, *tags)))
    right = predicted = actual = 0
    for index, (answer, label) in enumerate(zip(predictions, targets, strict=True)):
        if len(answer) != len(label):
            raise ValueError(
                f"predictions and targets: {len(answer)} and {len(label)} tags in sequence {index}"
            )
        answers, labels = (set(read_spans(marks[tag] for tag in tags)) for tags in (answer, label))
        right += len(answers & labels)
        predicted += len(answers)
        actual += len(labels)
    return F1(right, predicted, actual)
