import io

from hypothesis import given
from hypothesis import strategies as st

from mtljax.data.files.readers import Lines
from mtljax.data.files.readers import lines as module

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


@given(st.lists(st.sampled_from(["a", "é", "\r", "\n", "\r\n"]), max_size=12), st.integers(1, 4))
def test_lines_end_as_those_of_python(parts, piece):
    text = "".join(parts).replace("\r\r\n", "\r\n")
    before, module._PIECE = module._PIECE, piece
    try:
        read = list(Lines(io.BytesIO(text.encode())))
    finally:
        module._PIECE = before
    assert "".join(read) == text
    if "\r\r\n" not in text:
        assert [line.rstrip("\r\n") for line in read] == [
            line.rstrip("\n") for line in io.StringIO(text, newline=None)
        ]


def test_line_ends_that_were_converted_twice():
    assert list(Lines(io.BytesIO(b"a\r\r\nb\r\r\n"))) == ["a\r\r\n", "b\r\r\n"]


def test_many_lines_of_old_line_ends():
    count = 200_000
    read = sum(1 for _ in Lines(io.BytesIO(b"\r" * count + b"ab\r" * count)))
    assert read == 2 * count
