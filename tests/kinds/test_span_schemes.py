import pytest

from mtljax import metrics
from mtljax.kinds.span_schemes import SCHEMES, misfit, span_scheme


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        (["O", "B-x", "I-x"], "bio"),
        (["B-x", "O"], "bio"),
        (["O", "I-x", "B-y"], "bio"),
        (["O", "I-x", "I-y"], "iob1"),
        (["O", "B-x", "I-x", "E-x", "S-x"], "bioes"),
        (["S-x", "O"], "bioes"),
        (["O", "TITLE"], "none"),
        (["NOUN", "VERB"], "none"),
        (["O", "B-"], "none"),
        (["O", "B-x", "L-x"], "none"),
        (["O", "B-x", "PUNCT"], "none"),
        (["O"], "none"),
        ([], "none"),
    ],
)
def test_the_tags_tell_their_scheme(tags, scheme):
    assert span_scheme(None, tags) == scheme


def test_a_scheme_that_is_named_wins():
    assert span_scheme("bioes", ["O", "B-x"]) == "bioes"


def test_tags_that_do_not_fit():
    assert misfit("bio", ["O", "B-x", "I", "S-x", "E-x"]) == "S-x"
    assert misfit("bioes", ["O", "B-x", "S-x"]) is None
    assert misfit("iob1", ["O", "I-x", "DET"]) == "DET"


def test_every_scheme_can_be_counted():
    assert {*SCHEMES} - {"none"} == {*metrics.SCHEMES}
