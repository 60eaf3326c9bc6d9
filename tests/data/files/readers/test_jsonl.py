import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtljax.data.files.readers import Lines, flat, pluck, read_jsonl


def read(text):
    return list(read_jsonl(Lines(io.BytesIO(text.encode("utf-8", "surrogatepass")))))


values = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
objects = st.dictionaries(
    st.text(max_size=3),
    st.recursive(values, lambda inner: st.lists(inner, max_size=3), max_leaves=5),
    max_size=3,
)


@given(st.lists(objects, max_size=5))
def test_reads_what_was_written(rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    records = read(text)
    assert [record.values for record in records] == rows
    assert [record.line for record in records] == list(range(1, len(rows) + 1))
    assert all(record.problem is None for record in records)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"a": 1', "not JSON: Expecting ',' delimiter (column 8)"),
        ("{a: 1}", "not JSON: Expecting property name enclosed in double quotes (column 2)"),
        ("text", "not JSON: Expecting value (column 1)"),
        ("[1]", "expected a JSON object, got a list"),
        ('"a"', "expected a JSON object, got a text"),
        ("3", "expected a JSON object, got a number"),
        ("null", "expected a JSON object, got null"),
        ('{"a": ' + "[" * 100_000, "not JSON that can be read"),
        ('{"a": ' + "1" * 10_000 + "}", "not JSON that can be read"),
    ],
)
def test_malformed_rows_are_named_and_passed_over(line, problem):
    good, bad, after = read(f'{{"x": 1}}\n\n{line}\n{{"x": 2}}')
    assert (good.values, after.values, after.line) == ({"x": 1}, {"x": 2}, 4)
    assert bad.line == 3 and problem in bad.problem


@given(objects)
def test_values_are_found_where_flat_puts_them(row):
    if any("." in key for key in row):
        return
    assert {path: pluck(row, path) for path, _ in flat(row)} == dict(flat(row))


def test_nested_values():
    row = {"qa": {"q": "why", "turns": [{"by": "a", "n": 1}, {"by": "b"}]}, "a.b": 3, "e": []}
    assert dict(flat(row)) == {
        "qa.q": "why",
        "qa.turns.by": ["a", "b"],
        "qa.turns.n": [1, None],
        "a.b": 3,
        "e": [],
    }
    assert pluck(row, "qa.turns.by") == ["a", "b"]
    assert pluck(row, "a.b") == 3
    assert pluck(row, "qa.none") is None and pluck(row, "none.x") is None
    assert pluck({"qa": None}, "qa.q") is None
