import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from mtljax.data.files.readers import Lines, quoted_columns, read_table


def read(text, separator=",", quotes=True, width=None):
    return list(read_table(Lines(io.BytesIO(text.encode())), separator, quotes, width))


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=6)


@given(st.lists(st.lists(cells, min_size=2, max_size=2), max_size=6), st.sampled_from(",;\t"))
def test_reads_what_the_standard_library_writes(rows, separator):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL).writerows(rows)
    assert [record.values for record in read(text.getvalue(), separator, width=2)] == rows


def test_cells_may_hold_line_ends():
    records = read('a,"one\ntwo"\nb,three\n', width=2)
    assert [(r.line, r.values) for r in records] == [(1, ["a", "one\ntwo"]), (3, ["b", "three"])]


def test_without_quotes_a_quote_is_a_character():
    records = read('say "a\tb"\r\n\r\nx\ty\n', "\t", quotes=False, width=2)
    assert [(r.line, r.values) for r in records] == [(1, ['say "a', 'b"']), (3, ["x", "y"])]


def test_rows_of_another_width():
    records = read("a,b\nc\nd,e,f\n\ng,h", width=2)
    assert [(r.line, r.problem) for r in records] == [
        (1, None),
        (2, "1 columns where there should be 2"),
        (3, "3 columns where there should be 2"),
        (5, None),
    ]


def test_a_stray_quote_costs_one_row():
    records = read('a,b\nc,"d\ne,f\ng,h\n', width=2)
    assert [(r.line, r.problem) for r in records] == [
        (1, None),
        (2, "not CSV: unexpected end of data"),
        (3, None),
        (4, None),
    ]
    # Closed by the quote of a later row, it would swallow the rows between.
    records = read('a,"b\nc,d\ne,"f"\ng,h\n', width=2)
    assert [(r.line, r.problem is None) for r in records] == [
        (1, False),
        (2, True),
        (3, True),
        (4, True),
    ]
    assert [r.values for r in records[1:]] == [["c", "d"], ["e", "f"], ["g", "h"]]


def test_a_quote_that_closes_by_chance_swallows_no_rows():
    rows = [f"text {i},{i}" for i in range(20)]
    rows[2], rows[17] = '"text 2,2', 'screens",17'
    records = read("\n".join(rows), width=2)
    problems = [(r.line, r.problem) for r in records if r.problem]
    expected = "a quote that is closed 15 lines further on, and all of these lines have the 2 "
    assert [line for line, _ in problems] == [3] and str(problems[0][1]).startswith(expected)
    assert [r.line for r in records] == list(range(1, 21))
    # A long cell whose lines have other numbers of commas, or one that is short, is a cell.
    long = "\n".join("a, b" if i % 2 else "c" for i in range(40))
    assert [r.values for r in read(f'"{long}",1\nd,2\n', width=2)] == [[long, "1"], ["d", "2"]]
    short = "\n".join(["Dear all, hello"] * 6)
    assert [r.problem for r in read(f'"{short}",1\nd,2\n', width=2)] == [None, None]


def test_what_is_no_csv():
    bad, good = read('"a"b,c\nc,d\n', width=2)
    assert f"{bad.problem}" == "not CSV: ',' expected after '\"'"
    assert good.values == ["c", "d"]


def test_cells_of_any_length():
    long = "word\n" * 100_000
    assert [r.values for r in read(f'"{long}",b\nc,d\n', width=2)] == [[long, "b"], ["c", "d"]]


@given(st.lists(st.lists(cells, min_size=2, max_size=2), max_size=6), st.booleans())
def test_escaped_quotes(rows, quoting):
    text = io.StringIO(newline="")
    csv.writer(
        text,
        quoting=csv.QUOTE_ALL if quoting else csv.QUOTE_NONE,
        escapechar="\\",
        doublequote=False,
    ).writerows(rows)
    lines = Lines(io.BytesIO(text.getvalue().encode()))
    read_rows = [r.values for r in read_table(lines, ",", quoting, 2, escape="\\")]
    assert [row for row in read_rows if any(row)] == [row for row in rows if any(row)]


def test_what_helps_is_named():
    (bad,) = read('"he said \\"hi\\" to me",a\n', width=2)
    assert "give the source escape: '\\'" in f"{bad.problem}"
    (bad,) = read('a, "one, two"\n', width=2)
    assert "give the source skip_blanks: true" in f"{bad.problem}"
    lines = Lines(io.BytesIO(b'a, "one, two"\n  b ,  c\n'))
    assert [r.values for r in read_table(lines, ",", True, 2, skip_blanks=True)] == [
        ["a", "one, two"],
        ["b ", "c"],
    ]


def test_columns_with_blanks_before_quotes():
    assert quoted_columns([['"a"', ' "b"', ""], ["c", '  "d', ' "e"']]) == [1, 2]
    assert quoted_columns([["a", ' "b"'], ["a", " c"]]) == [1]
    assert quoted_columns([["a", ' "b"'], ["a", "c"]]) == quoted_columns([["a", ""]]) == []
