import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtljax.metrics import compute, merge, rouge_l
from mtljax.metrics.rouge import common_subsequence

WORDS = st.lists(st.sampled_from("abc"), max_size=7)


def longest(a, b):
    """By the recursion that defines it."""

    @functools.cache
    def of(i, j):
        if not i or not j:
            return 0
        if a[i - 1] == b[j - 1]:
            return of(i - 1, j - 1) + 1
        return max(of(i - 1, j), of(i, j - 1))

    return of(len(a), len(b))


@given(WORDS, WORDS)
def test_common_subsequence(a, b):
    assert common_subsequence(a, b) == longest(a, b)


@pytest.mark.parametrize(
    ("text", "references", "expected"),
    [
        ("the cat", ["the cat"], 1.0),
        ("The CAT!", ["the, cat."], 1.0),
        ("the cat", ["a dog"], 0.0),
        ("a b c d", ["a x c"], 2 * 2 / 7),
        ("a b c d", ["d c b a", "a x c"], 2 * 2 / 7),
        ("", ["a"], 0.0),
        ("", ["a", "..."], 1.0),
        ("naïve été", ["été"], 2 / 3),
        ("snake_case", ["snake case"], 1.0),
        ("__init__ 4_2", ["init 4 2"], 1.0),
        ("_", ["..."], 1.0),
        ("हिन्दी भाषा", ["हिन्दी"], 2 / 3),
        ("सड़क", ["सडक"], 0.0),
        ("Tie\u0302\u0301ng Vie\u0323\u0302t", ["tie\u0302\u0301ng"], 2 / 3),
        ("م\u064fد\u064eرّس", ["درس"], 0.0),
    ],
)
def test_the_nearest_reference_counts(text, references, expected):
    assert float(compute(rouge_l([text], [references]))) == pytest.approx(expected)


def test_texts_are_averaged_and_merge():
    texts, references = ["a b", "c", "d e f"], [["a b"], ["x"], ["d f"]]
    whole = rouge_l(texts, references)
    assert merge(rouge_l(texts[:1], references[:1]), rouge_l(texts[1:], references[1:])) == whole
    assert float(compute(whole)) == pytest.approx((1 + 0 + 4 / 5) / 3)


def test_a_text_needs_a_reference():
    with pytest.raises(ValueError, match="references: none for text 1"):
        rouge_l(["a", "b"], [["a"], []])
