import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtljax.data.files.readers import Lines, read_conll


def read(text, columns=(0, -1), **options):
    return list(read_conll(Lines(io.BytesIO(text.encode())), columns, **options))


CONLL2003 = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O

# tagged by hand
Peter NNP B-NP B-PER
"""


def test_sentences():
    records = read(CONLL2003)
    assert [(r.line, r.values) for r in records] == [
        (3, [["EU", "rejects"], ["B-ORG", "O"]]),
        (7, [["Peter"], ["B-PER"]]),
    ]


words = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=5)


@given(
    st.lists(st.lists(st.tuples(words, words), min_size=1, max_size=4), max_size=4),
    st.sampled_from(["\t", " ", "   "]),
)
def test_reads_what_was_written(sentences, separator):
    text = "".join(
        "".join(f"{token}{separator}{tag}\n" for token, tag in sentence) + "\n"
        for sentence in sentences
    )
    found = [list(zip(*r.values, strict=True)) for r in read(text, comments="")]
    assert found == sentences


def test_tokens_that_look_like_comments():
    text = "#news\tO\n#\tO\n\nfor\tO\n# \tO\n"
    assert [r.values[0] for r in read(text)] == [["#news", "#"], ["for", "#"]]
    assert [r.values[0] for r in read("# O\na O\n", comments="")] == [["#", "a"]]
    assert [r.values[0] for r in read("% x\na O\n", comments="%")] == [["a"]]


def test_words_of_conllu():
    text = "# sent_id = 1\n1-2\tdu\t_\n1\tde\tADP\n2\tle\tDET\n2.1\tx\t_\n\n"
    assert read(text, (1, 2), word_ids=True)[0].values == [["de", "le"], ["ADP", "DET"]]


def test_blanks_inside_tabs_belong_to_the_token():
    assert read("New York\tLOC\n")[0].values == [["New York"], ["LOC"]]
    assert read("a;b;c\n", (1,), separator=";")[0].values == [["b"]]
    assert read("a\u00a0b O\n")[0].values == [["a\u00a0b"], ["O"]]


@pytest.mark.parametrize(("columns", "missing"), [((0, 3), 3), ((0, -3), -3)])
def test_a_missing_column(columns, missing):
    good, bad, after = read("a b c d\n\na b c d\ne f\ng\n\na b c d\n", columns)
    assert good.problem is None and after.problem is None
    assert (bad.line, bad.problem) == (4, f"no column {missing} among its 2")
