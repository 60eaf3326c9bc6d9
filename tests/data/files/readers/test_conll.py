import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtljax.data.files.readers import Lines, conll_layout, read_conll


def lines_of(text):
    return Lines(io.BytesIO(text.encode()))


def read(text, columns=(0, -1), separator=None, comments=None, conllu=False):
    layout = conll_layout(lines_of(text), separator, comments, columns, conllu)
    return list(read_conll(lines_of(text), columns, layout, separator, comments))


def sentences(text, *arguments, **options):
    """The words of each sentence with their last column; of a malformed one, what is wrong."""
    return [
        r.problem or list(zip(*r.values, strict=True)) for r in read(text, *arguments, **options)
    ]


CONLL2003 = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O

# tagged by hand
Peter NNP B-NP B-PER
"""


def test_sentences():
    records = read(CONLL2003)
    assert [(r.line, r.values, r.item_lines) for r in records] == [
        (3, [["EU", "rejects"], ["B-ORG", "O"]], [3, 4]),
        (7, [["Peter"], ["B-PER"]], [7]),
    ]


words = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=5)


@given(
    st.lists(st.lists(st.tuples(words, words), min_size=1, max_size=4), max_size=4),
    st.sampled_from(["\t", " ", "   "]),
)
def test_reads_what_was_written(written, separator):
    text = "".join(
        "".join(f"{token}{separator}{tag}\n" for token, tag in sentence) + "\n"
        for sentence in written
    )
    assert sentences(text, comments="") == written


def test_words_that_look_like_comments():
    text = "#news\tO\n#\tO\n\nfor\tO\n# \tO\n"
    assert [r.values[0] for r in read(text)] == [["#news", "#"], ["for", "#"]]
    assert [r.values[0] for r in read("# O\na O\n", comments="")] == [["#", "a"]]
    assert [r.values[0] for r in read("% x\na O\n", comments="%")] == [["a"]]
    # The number sign has a tag of its own in the Penn Treebank.
    pounds = "about RB B-NP\n# # I-NP\n2 CD I-NP\n\n# # B-NP\n3 CD I-NP\n\nx # B-NP\n"
    assert [r.values[0] for r in read(pounds)] == [["about", "#", "2"], ["#", "3"], ["x"]]


@pytest.mark.parametrize("separator", ["\t", " "])
@pytest.mark.parametrize(
    "comment",
    ["# note on this word", "#sent_id = 1", "# sent_id = a-1", "#", "####", "# x", "# a b c d e f"],
)
def test_comments_stand_before_words_and_between_them(separator, comment):
    word = lambda *cells: separator.join(cells) + "\n"  # noqa: E731
    one, two = word("Det", "det", "PRON"), word("regnar", "regna", "VERB")
    text = f"{comment}\n{one}{comment}\n{two}\n{comment}\n\n{one}{comment}\n"
    expected = [[("Det", "PRON"), ("regnar", "VERB")], [("Det", "PRON")]]
    assert sentences(text) == expected
    numbered = f"{comment}\n1{separator}{one}{comment}\n2{separator}{two}\n"
    assert sentences(numbered, (1, 3)) == expected[:1]


def test_what_is_a_word_or_a_comment_is_not_guessed():
    text = "a DT x\n# on word\nb NN y\n\n#tag\nc DT x\n\nd NN y\n#tag too NN y\n\ne DT x\n"
    found = sentences(text)
    assert [isinstance(sentence, str) for sentence in found] == [True, True, True, False]
    assert "a comment or a word with other columns" in found[0]
    expected = [[("a", "x"), ("b", "y")], [("c", "x")], [("d", "y")], [("e", "x")]]
    assert sentences(text, comments="#") == expected


def test_words_of_conllu():
    text = "# sent_id = 1\n1-2\tdu\t_\n1\tde\tADP\n2\tle\tDET\n2.1\tx\t_\n\n"
    assert sentences(text, (1, 2)) == [[("de", "ADP"), ("le", "DET")]]
    # From 0, and a file whose sentences are parts of longer ones.
    assert sentences("0\ta\tX\n1\tb\tX\n1.1\t_\tX\n", (1, 2)) == [[("a", "X"), ("b", "X")]]
    parts = "4\ta\tX\n5-6\tbc\t_\n7\tb\tX\n\n9\tc\tX\n"
    assert sentences(parts, (1, 2), conllu=True) == [[("a", "X"), ("b", "X")], [("c", "X")]]


def test_numbers_that_are_words():
    text = "3.5 O\n1-2 O\n\n1 O\n2 O\n"
    for conllu in (False, True):
        assert sentences(text, conllu=conllu)[0] == [("3.5", "O"), ("1-2", "O")]
    assert sentences("1 O\n2 O\n2-3 O\n", conllu=True)[0][2] == ("2-3", "O")


CUPT = """# global.columns = ID FORM LEMMA UPOS PARSEME:MWE
1-2	im	_	_	*
1	in	in	ADP	*
2	dem	der	DET	*
3	Haus	Haus	NOUN	1
3.1	ist	sein	AUX	*
"""


def test_the_names_of_columns():
    assert sentences(CUPT, (1, 3)) == [[("in", "ADP"), ("dem", "DET"), ("Haus", "NOUN")]]
    layout = conll_layout(lines_of(CUPT))
    assert layout.names == ("ID", "FORM", "LEMMA", "UPOS", "PARSEME:MWE")
    conllu = "\t".join(["1", "a", *"_" * 8]) + "\n" + "\t".join(["2", "b", *"_" * 8]) + "\n"
    assert conll_layout(lines_of(conllu)).names[3] == "UPOS"
    with pytest.raises(ValueError, match="names 4 columns, the lines have 5"):
        conll_layout(lines_of(CUPT.replace(" PARSEME:MWE", "")))


def test_blanks_inside_tabs_belong_to_the_token():
    assert read("New York\tLOC\n")[0].values == [["New York"], ["LOC"]]
    assert read("a;b;c\n", (1,), separator=";")[0].values == [["b"]]
    assert read("a\u00a0b O\n")[0].values == [["a\u00a0b"], ["O"]]


@pytest.mark.parametrize(("columns", "missing"), [((0, 3), 3), ((0, -3), -3)])
def test_a_missing_column(columns, missing):
    good, bad, after = read("a b c d\n\na b c d\ne f\ng\n\na b c d\n", columns)
    assert good.problem is None and after.problem is None
    assert (bad.line, bad.problem) == (4, f"no column {missing} among its 2")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("New York LOC", "3 columns, where the file has 2"),
        ("O", "1 columns, where the file has 2"),
        ("O\tx\ty", "3 columns, where the file has 2"),
    ],
)
@pytest.mark.parametrize("separator", ["\t", " "])
def test_a_line_of_another_width_than_the_file(line, problem, separator):
    words = "".join(f"w{i}{separator}O\n" for i in range(6))
    text = f"{words}{line}\n\n{words}"
    bad, good = read(text)
    if separator == "\t" and line == "New York LOC":
        problem = "3 columns, where the file has 2"
    assert (bad.line, bad.problem, good.problem) == (7, problem, None)


def test_a_line_without_tabs_in_a_file_with_tabs():
    words = "".join(f"w{i}\tO\n" for i in range(6))
    bad, good = read(f"{words}New York\n\n{words}odd O\n\n")
    assert (bad.line, bad.problem) == (
        7,
        "no tab, where the columns of the file are separated by tabs",
    )
    assert good.values[0][-1] == "odd"
    # Tabs at the end of a line are no columns.
    assert sentences(f"{words}last\tO\t\t\n")[0][-1] == ("last", "O")


def test_columns_of_predicates_vary_from_sentence_to_sentence():
    # A column for each predicate, and the one that is read after them, as in CoNLL-2012.
    text = "#begin document (a); part 000\n"
    for predicates in (0, 1, 2, 3) * 5:
        for word in ("a", "b", "c"):
            text += " ".join([word, "NN", *["*"] * predicates, "O"]) + "\n"
        text += "\n"
    expected = [[("a", "O"), ("b", "O"), ("c", "O")]] * 20
    assert sentences(text) == expected
    damaged = sentences(text + "a NN O\nb b NN O\nc NN O\n")
    assert damaged == [*expected, "4 columns, where its sentence has 3"]


def test_documents_end_sentences():
    assert sentences("a O\n-DOCSTART- O\nb O\n") == [[("a", "O")], [("b", "O")]]


pieces = st.sampled_from(
    ["#", "# ", "1", "1-2", "1.1", "2", "\t", " ", "=", "O", "a", "\n", "\n\n"]
)


@given(st.lists(pieces, max_size=40).map("".join), st.sampled_from([None, "", "#", "%"]))
def test_any_lines_are_read_or_named(text, comments):
    for record in read(text, (0, 1, -1), comments=comments):
        if record.problem is None:
            assert len({len(values) for values in record.values} | {len(record.item_lines)}) == 1
        assert 0 < record.line <= text.count("\n") + 1


def test_a_few_sentences_with_more_columns():
    plain = "a\tO\nb\tO\nc\tO\n\n" * 50
    assert sentences(plain + "a\t*\tO\nb\t(V*)\tO\nc\t*\tO\n\n", (0, -1))[-1][1] == ("b", "O")
    damaged = sentences(plain + "a\tO\nb\tc\tO\nd\tO\n\n", (0, -1))
    assert damaged[-1] == "3 columns, where the file has 2"


def test_number_signs_have_tags_of_other_columns_too():
    # The part of speech of the number sign is a number sign, which only such lines have.
    text = "a DT B-NP O\nb NN I-NP O\n\nabout RB B-NP O\n# # I-NP O\n2 CD I-NP O\n\n# # B-NP O\n"
    assert [r.values[0] for r in read(text)] == [["a", "b"], ["about", "#", "2"], ["#"]]
    assert [r.values[0] for r in read("a DT\nb NN\n# #\n")] == [["a", "b", "#"]]
    assert [r.values[0] for r in read("#\tO\n#b\tO\n")] == [["#", "#b"]]
