import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtljax.data.files.readers import Lines, read_table


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


@pytest.mark.parametrize(
    ("text", "problem"), [('"a"b,c\n', "expected after"), (f'"{"x" * 200_000}",b\n', "field limit")]
)
def test_what_is_no_csv(text, problem):
    bad, good = read(f"{text}c,d\n", width=2)
    assert f"{bad.problem}".startswith("not CSV: ") and problem in f"{bad.problem}"
    assert good.values == ["c", "d"]
