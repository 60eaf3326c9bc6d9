import gzip
import io
import lzma

import pytest

from mtljax.data.files.readers import Lines, open_file

TEXT = "eins\r\nzwei é\n\ndrei".encode()


def test_offsets_are_where_lines_begin():
    lines = Lines(io.BytesIO(TEXT))
    places = [(0, 0)]
    read = []
    for line in lines:
        read.append(line)
        places.append((lines.offset, lines.number))
    assert read == ["eins\r\n", "zwei é\n", "\n", "drei"]
    for i, (offset, number) in enumerate(places):
        again = Lines(io.BytesIO(TEXT), offset, number)
        assert list(again) == read[i:]
        assert (again.offset, again.number) == (len(TEXT), 4)


def test_a_mark_of_byte_order_is_no_text():
    assert list(Lines(io.BytesIO(b"\xef\xbb\xbfa\n\xef\xbb\xbfb"))) == ["a\n", "\ufeffb"]


def test_damaged_lines_are_numbered():
    lines = Lines(io.BytesIO(b"a\n\xff\nb\n"))
    assert (next(lines), lines.damaged) == ("a\n", 0)
    assert (next(lines), lines.damaged) == ("\ufffd\n", 2)
    lines.damaged = 0
    assert (next(lines), lines.damaged) == ("b\n", 0)


def test_back_to_one_line_after_the_mark():
    lines = Lines(io.BytesIO(b"a\nb\nc\nd\n"))
    next(lines)
    lines.mark()
    assert [next(lines) for _ in range(3)] == ["b\n", "c\n", "d\n"]
    lines.back()
    assert (lines.number, lines.offset) == (2, 4)
    assert list(lines) == ["c\n", "d\n"]
    lines.mark()
    lines.back()
    assert list(lines) == []


@pytest.mark.parametrize(
    ("name", "pack"), [("a.txt", bytes), ("a.txt.gz", gzip.compress), ("a.txt.xz", lzma.compress)]
)
def test_packed_files(tmp_path, name, pack):
    (tmp_path / name).write_bytes(pack(TEXT))
    with open_file(tmp_path / name) as file:
        assert file.read() == TEXT
