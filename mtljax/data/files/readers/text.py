"""Plain text: one row a line or a paragraph."""

from collections.abc import Iterator

from mtljax.data.files.readers.lines import Lines, Record


def read_text(lines: Lines, paragraphs: bool = False) -> Iterator[Record]:
    """Reads the lines that are not empty, or the paragraphs between empty lines.

    Yields:
        Records whose values are str; the lines of a paragraph are joined by line ends.
    """
    paragraph: list[str] = []
    first = 0
    for line in lines:
        text = line.rstrip("\r\n")
        if text.strip():
            first = first or lines.number
            paragraph.append(text)
        if paragraph and (not paragraphs or not text.strip()):
            yield Record(first, "\n".join(paragraph))
            paragraph, first = [], 0
    if paragraph:
        yield Record(first, "\n".join(paragraph))
