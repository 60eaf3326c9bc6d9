import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtljax.kinds import KINDS
from mtljax.span_schemes import (
    ALIASES,
    SCHEMES,
    Mark,
    canonical,
    named_marks,
    outside_tags,
    read_spans,
    span_scheme,
    tag_marks,
    uncounted_tag,
)


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        ("O B-x I-x", "bio"),
        ("B-x O", "bio"),
        ("B-x I-x", "bio"),
        ("O I-x B-y", "bio"),
        ("O I-x I-y", "iob1"),
        ("O B-x I-x E-x S-x", "bioes"),
        ("S-x O", "bioes"),
        ("O B-x L-x", "bilou"),
        ("B-x I-x L-x U-x O", "bilou"),
        ("B-x M-x E-x S-x O", "bmes"),
        ("B-x M-x E-x W-x O", "bmewo"),
        ("I-x E-x O", "ioe2"),
        ("NOUN VERB", "none"),
        ("PRP PRP-S NN NN-S", "none"),
        ("B I N V", "none"),
        ("M-sg M-pl F-sg", "none"),
        ("M-sg M-pl", "none"),
        ("NN_B NN_I VB", "none"),
        ("O", "none"),
        ("", "none"),
    ],
)
def test_the_tags_tell_their_scheme(tags, scheme):
    reading = span_scheme(tags.split())
    assert reading.scheme == scheme
    assert scheme == "none" or reading.note is None


@pytest.mark.parametrize(
    ("tags", "scheme", "note"),
    [
        (["B", "I", "O"], "bio", "tags B, I mark spans by scheme bio, 'O' is outside"),
        (["B", "I"], "bio", "by scheme bio; if not, say 'scheme: none'"),
        (["B", "M", "E", "S"], "bmes", "scheme bmes"),
        (["B", "I", "L", "U", "O"], "bilou", "scheme bilou"),
        (["b", "i", "o"], "bio", "'o' is outside"),
        (["0", "B-PER", "I-PER"], "bio", "'0' is outside"),
        (["_", "B-PER"], "bio", "'_' is outside"),
        (["", "B-PER", "I-PER"], "bio", "'' is outside"),
        (["O", "0", "B-PER"], "bio", "'O' is outside, '0' is outside"),
        (["NONE", "B-PER", "I-PER"], "bio", "tags B-PER, I-PER mark .* 'NONE' is outside"),
        (["ORG-B", "ORG-I", "O"], "bio", "tags ORG-B, ORG-I mark spans"),
        (["B_ORG", "I_ORG", "O"], "bio", "tags B_ORG"),
        (["ORG_B", "ORG_E", "ORG_S", "O"], "bioes", "tags ORG_B"),
        (["b-per", "i-per", "O"], "bio", "tags b-per"),
    ],
)
def test_other_spellings_are_read_and_told(tags, scheme, note):
    reading = span_scheme(tags)
    assert reading.scheme == scheme and re.search(note, reading.note or "")
    assert "say 'scheme: none'" in (reading.note or "") and len(reading.note or "") < 200


@pytest.mark.parametrize(
    ("tags", "note"),
    [
        ("O TITLE", "tags TITLE are counted one by one, though 'O' may be outside of spans; say "),
        ("0 PER", "though '0' may be outside"),
        ("O person-actor art-music", "though 'O' may be outside"),
        ("* (PER* *)", "though '*' may be outside"),
        ("O B-x PUNCT", "though 'O' may be outside"),
        ("O B-x I-x PUNCT", "look like spans but for PUNCT; say which 'scheme'"),
        ("B-x I-x PUNCT", "look like spans but for PUNCT"),
        ("O B-x I_x I-y", "look like spans but for I_x"),
        ("O B-x S-x U-x", "look like spans; say"),
        ("S V O", "though 'O' may be outside"),
        ("B E", "though they may mark spans"),
        ("0 1 2", "numbers without names; give them 'classes'"),
    ],
)
def test_what_may_mark_spans_is_not_counted_in_silence(tags, note):
    reading = span_scheme(tags.split())
    assert reading.scheme == "none" and note in (reading.note or "")
    assert len(reading.note or "") < 220


def test_brackets_are_refused_by_that_name():
    """Whatever is measured, unless they are to be counted one by one."""
    kind = KINDS["tagging"]
    tags = ["(PER*", "*", "*)", "(ORG(PER*)", "(LOC*)"]
    for metrics in ([], ["accuracy"], ["span_f1"]):
        refused = kind.check_classes(metrics, None, tags)
        assert refused is not None
        field, reason = refused
        assert field == "scheme" and "'(PER*', '*', '*)', '(ORG(PER*)' are brackets" in reason
    assert kind.check_classes([], "none", tags) is None
    for others in (["*", "B-x"], ["*", "NOUN"], ["(", ")", "NN"], ["O", "(PER*"]):
        assert kind.check_classes([], None, others) is None


def test_ordinary_tags_need_no_word():
    for tags in ("NOUN VERB", "PRP PRP-S NN", "B I N V", "O B-x I-x", "O", "1 2 3"):
        assert span_scheme(tags.split()).note is None


def test_notes_are_bounded():
    many = [f"{'x' * 5000}{i}" for i in range(5000)]
    assert len(span_scheme(["O", *many]).note or "") < 300


def test_names_of_schemes():
    assert canonical("BILOU") == "bilou" and canonical("IOB2") == "bio" and canonical("none")
    assert [canonical(wrong) for wrong in ("bie", "", 3, None)] == [None] * 4
    assert set(ALIASES.values()) <= set(SCHEMES) and not set(ALIASES) & set(SCHEMES)


def test_marks_of_named_schemes():
    marks = tag_marks("bio", ["O", "B-x", "I", "S-x", "E-x"])
    assert marks == {
        "O": Mark("O"), "B-x": Mark("B", "x"), "I": Mark("I"), "S-x": None, "E-x": None
    }  # fmt: skip
    assert tag_marks("io", ["0", "PER"]) == {"0": Mark("O"), "PER": Mark("I", "PER")}
    assert tag_marks("io", ["O", "I-PER"])["I-PER"] == Mark("I", "PER")
    assert tag_marks("io", ["O", "B-x", "I-x"])["B-x"] is None
    assert tag_marks("io", ["*", "(PER*", "*)"])["(PER*"] is None
    # The spelling is that of most tags: a type may be called as a letter is.
    assert tag_marks("bioes", ["S-B", "B-B", "B-I", "O"])["S-B"] == Mark("S", "B")
    assert tag_marks("bioes", ["S-B", "S-I", "ORG-B", "O"])["S-B"] == Mark("B", "S")
    with pytest.raises(ValueError, match="one of bio, iob1, .* got 'none'"):
        named_marks("none", ["O"])
    with pytest.raises(ValueError, match=r"'B-...', 'I-...' \(bio\), got 'PER'"):
        named_marks("iob2", ["O", "PER"])


def test_outside():
    assert outside_tags(["O", "other"]) == ("O",) and outside_tags(["other", "x"]) == ("other",)
    assert uncounted_tag(["B-x"]) is None and uncounted_tag(["0", "1", "PER"]) == "0"


texts = st.text("BIOESLUMW0-_*#xé ", max_size=5)


@given(st.lists(texts, max_size=8, unique=True))
def test_any_tags_are_read(tags):
    reading = span_scheme(tags)
    assert reading.scheme in (*SCHEMES, "none")
    if reading.scheme != "none":
        marks = tag_marks(reading.scheme, tags)
        assert set(marks) == set(tags) and None not in marks.values()
    for scheme in SCHEMES:
        assert set(tag_marks(scheme, tags)) == set(tags)


def test_spans_of_marks():
    marks = [Mark("B", "x"), Mark("I", "x"), Mark("I", "y"), Mark("S", "y"), Mark("O"), Mark("E")]
    assert read_spans(marks) == [("x", 0, 2), ("y", 2, 3), ("y", 3, 4), ("", 5, 6)]
