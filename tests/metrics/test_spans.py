import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtljax import metrics

# By scheme: the letters of conlleval (B, I, E, S), and how the scheme writes them.
LETTERS = {
    "bio": "BI", "iob1": "BI", "ioe1": "IE", "ioe2": "IE", "bioes": "BIES", "bilou": "BILU",
    "bmes": "BMES", "bmewo": "BMEW",
}  # fmt: skip
WRITTEN = {
    "bilou": str.maketrans("ES", "LU"),
    "bmes": str.maketrans("I", "M"),
    "bmewo": str.maketrans("IS", "MW"),
}
SPELLINGS = {
    "B-x": lambda letter, kind: f"{letter}-{kind}",
    "x-B": lambda letter, kind: f"{kind}-{letter}",
    "B_x": lambda letter, kind: f"{letter}_{kind}",
    "b-x": lambda letter, kind: f"{letter.lower()}-{kind}",
}
OUTSIDE = ["O", "0", "_", "", "-", "*"]
SCHEMES = {
    scheme: ["O", *(f"{letter}-{kind}" for letter in letters for kind in "ab")]
    for scheme, letters in LETTERS.items()
}


def conll_letters(tag, scheme):
    """A tag with the letter that conlleval has for it."""
    back = {new: old for old, new in WRITTEN.get(scheme, {}).items()}
    return tag[:1].translate(back) + tag[1:]


def starts(previous, tag):
    """conlleval's startOfChunk; a tag is (prefix, type)."""
    return (
        tag[0] in "BS"
        or (previous[0] in "ESO" and tag[0] in "EI")
        or (tag[0] != "O" and previous[1] != tag[1])
    )


def ends(previous, tag):
    """conlleval's endOfChunk."""
    return (
        previous[0] in "ES"
        or (previous[0] in "BI" and tag[0] in "BSO")
        or (previous[0] != "O" and previous[1] != tag[1])
    )


def conlleval_counts(answer, label):
    """The counters of conlleval: correctChunk, foundGuessed, foundCorrect, tag by tag."""
    split = lambda tag: (tag[0], tag[2:])  # noqa: E731
    right = given = there = 0
    running = False
    last_answer, last_label = ("O", ""), ("O", "")
    for a, b in zip([*map(split, answer), ("O", "")], [*map(split, label), ("O", "")], strict=True):
        if running:
            if ends(last_label, b) and ends(last_answer, a) and last_answer[1] == last_label[1]:
                running = False
                right += 1
            elif ends(last_label, b) != ends(last_answer, a) or a[1] != b[1]:
                running = False
        if starts(last_label, b) and starts(last_answer, a) and a[1] == b[1]:
            running = True
        there += starts(last_label, b)
        given += starts(last_answer, a)
        last_answer, last_label = a, b
    return right, given, there


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ([], []),
        (["O", "O"], []),
        (["B-a", "I-a", "I-a"], [("a", 0, 3)]),
        (["B-a", "B-a"], [("a", 0, 1), ("a", 1, 2)]),
        (["I-a", "I-a", "O", "I-b"], [("a", 0, 2), ("b", 3, 4)]),
        (["B-a", "I-b", "I-b"], [("a", 0, 1), ("b", 1, 3)]),
        (["O", "B-a", "O", "I-a"], [("a", 1, 2), ("a", 3, 4)]),
        (["B-x-y", "I-x-y"], [("x-y", 0, 2)]),
        (["B", "I", "O"], [("", 0, 2)]),
    ],
)
def test_hand_cases(tags, expected):
    assert metrics.spans(tags) == expected


def written(kinds, scheme):
    """Spans of types, None for a word outside, as tags of a scheme (letter, type); and the spans.

    After the definitions of the schemes, in Sang and Veenstra, "Representing Text Chunks", 1999.
    """
    tags, found = [], []
    for i, (kind, length) in enumerate(kinds):
        if kind is None:
            tags += [("O", None)] * length
            continue
        found.append((kind, len(tags), len(tags) + length))
        before = kinds[i - 1][0] if i else None
        after = kinds[i + 1][0] if i + 1 < len(kinds) else None
        inner = ["I"] * length
        if scheme in ("bio", "bioes", "bilou", "bmes", "bmewo") or (
            scheme == "iob1" and before == kind
        ):
            inner[0] = "B"
        if scheme in ("ioe2", "bioes", "bilou", "bmes", "bmewo") or (
            scheme == "ioe1" and after == kind
        ):
            inner[-1] = "E"
        if scheme in ("bioes", "bilou", "bmes", "bmewo") and length == 1:
            inner = ["S"]
        tags += [(letter.translate(WRITTEN.get(scheme, {})), kind) for letter in inner]
    return tags, found


spans_of_types = st.lists(
    st.tuples(st.sampled_from([None, "aa", "bb"]), st.integers(1, 3)), max_size=6
)


@pytest.mark.parametrize("scheme", SCHEMES)
@given(spans_of_types, st.sampled_from(list(SPELLINGS)), st.sampled_from(OUTSIDE))
@settings(max_examples=100, deadline=None)
def test_spans_that_are_written_are_read_again(scheme, kinds, spelling, outside):
    tags, expected = written(kinds, scheme)
    spelt = [outside if kind is None else SPELLINGS[spelling](x, kind) for x, kind in tags]
    assert metrics.spans(spelt, scheme) == expected
    bare = [outside if kind is None else letter for letter, kind in tags]
    if "bb" not in dict(kinds):
        assert metrics.spans(bare, scheme) == [("", *ends) for _, *ends in expected]


@given(spans_of_types, st.sampled_from(OUTSIDE))
def test_types_alone_are_runs(kinds, outside):
    merged = [pair for i, pair in enumerate(kinds) if not i or pair[0] != kinds[i - 1][0]]
    tags = [outside if kind is None else kind for kind, length in merged for _ in range(length)]
    assert metrics.spans(tags, "io") == written(merged, "bio")[1]


@pytest.mark.parametrize("scheme", SCHEMES)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_counts_equal_conlleval(scheme, seed):
    draw = random.Random(seed)
    sizes = [draw.randint(0, 12) for _ in range(draw.randint(0, 4))]
    answers, labels = ([draw.choices(SCHEMES[scheme], k=size) for size in sizes] for _ in "ab")
    plain = [[[conll_letters(tag, scheme) for tag in line] for line in lines]
             for lines in (answers, labels)]  # fmt: skip
    expected = [conlleval_counts(a, b) for a, b in zip(*plain, strict=True)]
    sums = tuple(map(sum, zip(*expected, strict=True))) or (0, 0, 0)
    assert metrics.span_f1(answers, labels, scheme) == sums


@given(st.lists(st.sampled_from(SCHEMES["bioes"]), max_size=12))
@settings(max_examples=100, deadline=None)
def test_spans_are_disjoint_and_cover_all_but_outside(tags):
    covered = [i for _, start, end in metrics.spans(tags, "bioes") for i in range(start, end)]
    assert covered == [i for i, tag in enumerate(tags) if tag != "O"]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["B-a", "E-a", "S-a"], [("a", 0, 2), ("a", 2, 3)]),
        (["E-a", "E-a"], [("a", 0, 1), ("a", 1, 2)]),
        (["I-a", "I-a", "E-b"], [("a", 0, 2), ("b", 2, 3)]),
        (["S-a", "I-a", "B-a", "O"], [("a", 0, 1), ("a", 1, 2), ("a", 2, 3)]),
    ],
)
def test_hand_cases_of_bioes(tags, expected):
    assert metrics.spans(tags, "bioes") == expected


def test_figure_and_merge():
    a = metrics.span_f1([["B-a", "I-a", "O", "B-b"]], [["B-a", "I-a", "O", "B-c"]])
    b = metrics.span_f1([["B-a", "O"]], [["B-a", "I-a"]])
    assert (a, b) == (metrics.F1(1, 2, 2), metrics.F1(0, 1, 1))
    assert metrics.compute(metrics.merge(a, b)) == pytest.approx(1 / 3)
    assert metrics.compute(metrics.span_f1([["O"]], [["O"]])) == 0


@pytest.mark.parametrize(
    ("answers", "labels", "message"),
    [
        ([["O"]], [], "1 and 0 sequences"),
        ([["O"], ["O"]], [["O"], ["O", "O"]], "sequence 1"),
        ([["PERSON"]], [["O"]], "PERSON"),
        ([["O"]], [["O-x"]], "O-x"),
    ],
)
def test_wrong_arguments_are_named(answers, labels, message):
    with pytest.raises(ValueError, match=message):
        metrics.span_f1(answers, labels)


def test_schemes_have_tags_of_their_own():
    with pytest.raises(ValueError, match="'B-...', 'I-...' \\(bio\\), got 'S-a'"):
        metrics.spans(["S-a"])
    with pytest.raises(ValueError, match="one of bio, iob1, .*, io, got 'bie'"):
        metrics.span_f1([["O"]], [["O"]], "bie")


def test_all_names_show_the_spelling():
    names = ["O", "I-B", "B-B", "B-ORG"]
    assert metrics.spans(["I-B"], "bio") == [("B", 0, 1)]
    assert metrics.spans(["S-B", "O"], "bioes", ["ORG-B", "ORG-E"]) == [("S", 0, 1)]
    assert metrics.span_f1([["B-B"]], [["I-B"]], "bio", names) == (1, 1, 1)
