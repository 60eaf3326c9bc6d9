import gzip
import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtljax.data.files.readers import Lines, open_json, read_jsonl
from mtljax.data.files.readers import json_array as module

items = st.dictionaries(
    st.text(max_size=3), st.text(max_size=5) | st.lists(st.text(max_size=2), max_size=2), max_size=3
)


def records(text):
    return list(read_jsonl(Lines(io.BytesIO(b"".join(module.array_lines(io.BytesIO(text)))))))


@given(
    st.lists(items, max_size=5),
    st.sampled_from([None, 0, 1]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.integers(1, 9),
)
def test_reads_what_the_standard_library_writes(rows, indent, end, block):
    text = json.dumps(rows, indent=indent).replace("\n", end)
    before, module.BLOCK = module.BLOCK, block
    try:
        found = records(f"{end} {text}{end}".encode())
    finally:
        module.BLOCK = before
    assert [record.values for record in found] == rows
    assert not any(record.problem for record in found)


def test_lines_are_those_where_items_end():
    rows = [{"a": [1, 2]}, {"a": []}, {"b": {"c": "\n"}}]
    text = json.dumps(rows, indent=1)
    ends = [text[: match.end()].count("\n") + 1 for match in re.finditer(r"^ }", text, re.M)]
    assert [record.line for record in records(text.encode())] == ends
    assert [record.line for record in records(json.dumps(rows).encode())] == [1, 2, 3]


@pytest.mark.parametrize(
    "text",
    [
        '[{"a": 1} {"a": 2}]',
        '[{"a": 1},]',
        '[{"a": 1},,{"a": 2}]',
        '[{"a": 1}x]',
        '[{"a": "b\nc"}]',
        '[{"a": 1]]',
        "[1]",
    ],
)
def test_damaged_items_are_malformed_rows(text):
    assert any(record.problem for record in records(text.encode()))


def test_what_is_no_array():
    with pytest.raises(EOFError, match="no end"):
        records(b'[{"a": 1}')
    with pytest.raises(ValueError, match="text after the end"):
        records(b'[{"a": 1}]\n{"a": 2}')


def test_lines_stay_lines(tmp_path):
    for name, text in (("a", b'{"a": 1}\n[1]\n'), ("b", b"\xef\xbb\xbf \n[\n]"), ("c", b"")):
        (tmp_path / name).write_bytes(gzip.compress(text))
    with open_json(tmp_path / "a") as file:
        assert [r.values for r in read_jsonl(Lines(file))] == [{"a": 1}, None]
    for name in "bc":
        with open_json(tmp_path / name) as file:
            assert list(read_jsonl(Lines(file))) == []
