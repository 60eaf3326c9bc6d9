import itertools

import pytest

from mtljax.span_schemes import SCHEMES, named_marks, read_spans
from mtljax.span_steps import allowed_steps

WRITTEN = {
    # First, inner and last words of a span of several, and a span of one word.
    "bio": "BIIB",
    "ioe2": "IIEE",
    "bioes": "BIES",
    "bilou": "BILU",
    "bmes": "BMES",
    "bmewo": "BMEW",
}


def written(spans, length, letters):
    """The tags of some spans, as a scheme writes them."""
    tags = ["O"] * length
    for kind, start, end in spans:
        tags[start:end] = [f"{letters[1]}-{kind}"] * (end - start)
        tags[start], tags[end - 1] = f"{letters[0]}-{kind}", f"{letters[2]}-{kind}"
        if end - start == 1:
            tags[start] = f"{letters[3]}-{kind}"
    return tags


@pytest.mark.parametrize("scheme", WRITTEN)
def test_allowed_are_the_sequences_that_spans_are_written_as(scheme):
    tags = ["O", *(f"{letter}-{kind}" for letter in SCHEMES[scheme] for kind in "xy")]
    marks = named_marks(scheme, tags)
    steps = allowed_steps(scheme, tags)
    for length in (1, 2, 3):
        for path in itertools.product(range(len(tags)), repeat=length):
            names = [tags[i] for i in path]
            spans = read_spans(marks[name] for name in names)
            pairs = itertools.pairwise(path)
            allowed = steps.start[path[0]] and steps.end[path[-1]]
            allowed &= all(steps.between[first][second] for first, second in pairs)
            assert allowed == (written(spans, length, WRITTEN[scheme]) == names), names


@pytest.mark.parametrize("scheme", ["none", "io", "iob1", "ioe1"])
def test_schemes_that_read_any_sequence_allow_all(scheme):
    steps = allowed_steps(scheme, ["O", "I-x", "I-y"])
    assert all(map(all, steps.between)) and all(steps.start) and all(steps.end)


@pytest.mark.parametrize(
    ("scheme", "tags", "named"),
    [("bio", "O B-x I-y", "I-y"), ("bioes", "O S-x B-x", "B-x"), ("bioes", "O E-x", "E-x")],
)
def test_a_tag_that_no_sequence_has_is_named(scheme, tags, named):
    with pytest.raises(ValueError, match=f"forbids '{named}'"):
        allowed_steps(scheme, tags.split())
