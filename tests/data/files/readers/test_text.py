import io

from mtljax.data.files.readers import Lines, read_text

TEXT = b"one\r\ntwo \n\n \nthree\n\n"


def read(paragraphs):
    return [(r.line, r.values) for r in read_text(Lines(io.BytesIO(TEXT)), paragraphs)]


def test_lines():
    assert read(False) == [(1, "one"), (2, "two "), (5, "three")]


def test_paragraphs():
    assert read(True) == [(1, "one\ntwo "), (5, "three")]


def test_the_last_paragraph_needs_no_empty_line():
    assert [r.values for r in read_text(Lines(io.BytesIO(b"a\nb")), True)] == ["a\nb"]
