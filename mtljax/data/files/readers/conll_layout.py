"""How a file in CoNLL columns is laid out, as its first lines show."""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

CONLLU = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
"""The columns of CoNLL-U."""

_SAMPLE = 10_000  # lines that show the layout
_NAMES = re.compile(r"#\s*global\.columns\s*=\s*(.*\S)")
_WORD_ID = re.compile(r"\d+")
_NO_WORD_ID = re.compile(r"\d+[-.]\d+")
# A line that begins with `#` as comments do: a blank after it, or one or `=` further on.
_LIKE_A_COMMENT = re.compile(r"#+(\s|$)|#\S*[ =]")
_SETTING = re.compile(r"#\s*[\w.:-]+\s*=(\s|$)|#(begin|end) document")
_OTHERS = 0.1  # share of lines of other widths from which on a file has no width of its own

Sentence = list[tuple[str, list[str]]]
"""The lines of a sentence, each with its cells."""


class ConllLayout(NamedTuple):
    """What the lines of a file in CoNLL columns have in common.

    Attributes:
        width: number of the cells of a line; None where it varies.
        widths: all numbers of cells that lines have.
        by_sentence: whether it varies from sentence to sentence, as with a column for each
            predicate, and is the same within one.
        tabs: whether tabs separate the columns.
        word_ids: whether the first column numbers the words of a sentence, as in CoNLL-U, so that a
            line with a range (`1-2`) or a decimal (`1.1`) in it is none of its words.
        names: of the columns, from `# global.columns`; of CoNLL-U where it has its ten columns.
        tag_values: for each column its values, where they are few as those of tags are; none for
            the first column.
        last_values: values of the last column.
    """

    width: int | None = None
    widths: frozenset[int] = frozenset()
    by_sentence: bool = False
    tabs: bool = False
    word_ids: bool = False
    names: tuple[str, ...] = ()
    tag_values: tuple[frozenset[str], ...] = ()
    last_values: frozenset[str] = frozenset()

    def line_kind(
        self, text: str, cells: Sequence[str], width: int | None, mark: str | None
    ) -> Literal["word", "comment", "unclear"]:
        """What a line is that begins as comments do.

        Args:
            text: the line.
            cells: of it, by the separator of the file.
            width: number of cells of the sentence's first word; None before it.
            mark: with which comments begin, as the user says; None for `#`.
        """
        if self.word_ids and text.startswith("#"):
            return "comment"
        expected = self.width or width
        fits = len(cells) == expected if expected else len(cells) in self.widths
        fits = fits and ("\t" in text or not self.tabs)
        tagged = self._tagged(cells)
        if mark is not None:
            # What the user says holds; inside of a sentence it may all the same begin a word.
            return "word" if width is not None and fits and tagged else "comment"
        like_comment = bool(_SETTING.match(text) or text.startswith("# "))
        if not self.widths:
            return "comment" if like_comment else "word"
        if not fits:
            # A word with a cell too many ends as words do; a word without a tag is one cell.
            damaged = cells[-1] in self.last_values or not _LIKE_A_COMMENT.match(text)
            return "unclear" if damaged else "comment"
        if tagged:
            return "word"
        if width is None or _SETTING.match(text):
            return "comment" if like_comment else "word"
        # Between words, a comment of as many words as there are columns is as likely.
        return "unclear" if like_comment and "\t" not in text and len(cells) > 2 else "word"

    def _tagged(self, cells: Sequence[str]) -> bool:
        """Whether one of the cells is a tag that other lines have in that column."""
        return any(cell in own for cell, own in zip(cells, self.tag_values, strict=False))

    def problem(self, text: str, cells: Sequence[str], width: int | None) -> str | None:
        """What is wrong with the line of a word, or None.

        Args:
            text: the line.
            cells: of it.
            width: number of cells of the sentence's first word; None for that word.
        """
        if self.width is not None and len(cells) != self.width:
            return f"{len(cells)} columns, where the file has {self.width}"
        if self.by_sentence and width is not None and len(cells) != width:
            return f"{len(cells)} columns, where its sentence has {width}"
        blanks = self.tabs and self.width and self.width > 1 and "\t" not in text
        if blanks and not self._tagged(cells):
            return "no tab, where the columns of the file are separated by tabs"
        return None

    def is_word(self, cells: Sequence[str]) -> bool:
        """Whether a line is one of the words of a sentence, not a range or an empty word."""
        return not (self.word_ids and _NO_WORD_ID.fullmatch(cells[0]))


def split_columns(text: str, separator: str | None) -> list[str]:
    r"""The cells of a line: by a separator, or by tabs where it has any and else by blanks.

    >>> split_columns("New York\tB-LOC", None), split_columns("York  B-LOC", None)
    (['New York', 'B-LOC'], ['York', 'B-LOC'])
    """
    if separator is not None:
        return [cell.strip(" ") for cell in text.split(separator)]
    if "\t" in text:
        return [cell.strip(" ") for cell in text.split("\t")]
    return [cell for cell in text.split(" ") if cell]


def conll_layout(
    lines: Iterable[str],
    separator: str | None = None,
    comments: str | None = None,
    columns: Sequence[int] = (),
    conllu: bool = False,
) -> ConllLayout:
    """Finds out how a file is laid out, from its first lines.

    Args:
        lines: of the file, from the first one on; some thousand are read.
        separator: between columns; None for tabs or blanks.
        comments: how comments begin; empty for none, None for `#`.
        columns: numbers of the columns that will be read.
        conllu: whether the file is called one of CoNLL-U.

    Raises:
        ValueError: if `# global.columns` names another number of columns than there are.
    """
    sample = [line.strip("\r\n") for line in itertools.islice(lines, _SAMPLE)]
    named = comments != "" and next(filter(None, map(_NAMES.match, sample)), None)
    names = tuple(named[1].split()) if named else ()
    mark = "#" if comments is None else comments
    sentences = list(_sentences(sample, separator, mark))
    if not sentences:
        return ConllLayout(names=names)
    width, by_sentence = _width(sentences, separator)
    rows = [cells for sentence in sentences for _, cells in sentence]
    common = Counter(map(len, rows)).most_common(1)[0][0]
    if names and width is not None and len(names) != width:
        raise ValueError(f"'# global.columns' names {len(names)} columns, the lines have {width}")
    # Sentences of a file called .conllu may be numbered in another way; of two columns, the first
    # has the words.
    numbered = _numbered(sentences) or (conllu and sum(map(_is_id, rows)) > len(rows) / 2)
    numbered = numbered and (0 not in columns or common > 2)
    if not names and numbered and width == len(CONLLU):
        names = CONLLU
    tabs = separator is None and _with_tabs(sentences) > 0.5
    usual = [
        cells
        for sentence in sentences
        for text, cells in sentence
        if len(cells) == common and ("\t" in text or not tabs)
    ]
    values = [{cells[i] for cells in usual} for i in range(common)]
    fewest = min(map(len, values[1:]), default=0)
    tags = [
        frozenset(own if i and (len(own) == fewest or 2 * len(own) <= len(usual)) else ())
        for i, own in enumerate(values)
    ]
    return ConllLayout(
        width=width,
        widths=frozenset(map(len, rows)),
        by_sentence=by_sentence,
        tabs=tabs,
        word_ids=numbered,
        names=names,
        tag_values=tuple(tags),
        last_values=frozenset(values[-1]),
    )


def is_document_start(text: str) -> bool:
    """Whether a line only says that a document begins."""
    return text.startswith("-DOCSTART-")


def _sentences(sample: Sequence[str], separator: str | None, mark: str) -> Iterator[Sentence]:
    sentence: Sentence = []
    for text in sample:
        if not text.strip(" \t") or is_document_start(text):
            if sentence:
                yield sentence
            sentence = []
        elif not mark or not text.startswith(mark):
            sentence.append((text, split_columns(text, separator)))
    if sentence:
        yield sentence


def _width(sentences: Sequence[Sentence], separator: str | None) -> tuple[int | None, bool]:
    """The width of the lines, None where it varies, and whether only between sentences."""
    widths = Counter(len(cells) for sentence in sentences for _, cells in sentence)
    common, count = widths.most_common(1)[0]
    # Sentences with lines of another width: a damaged line differs from those next to it.
    odd = [[len(cells) for _, cells in sentence] for sentence in sentences if len(sentence) > 1]
    odd = [line_widths for line_widths in odd if set(line_widths) != {common}]
    even = [line_widths for line_widths in odd if len(set(line_widths)) == 1]
    if sum(map(len, even)) > 2 and len(even) >= (1 - _OTHERS) * len(odd):
        return None, True
    if count > (1 - _OTHERS) * widths.total():
        return common, False
    # Lines of any length are read from the left, where tabs tell the columns apart.
    ragged = separator is not None or _with_tabs(sentences) > 1 - _OTHERS
    return (None if ragged and widths.total() > 10 else common), False


def _with_tabs(sentences: Sequence[Sentence]) -> float:
    flags = ["\t" in text for sentence in sentences for text, _ in sentence]
    return sum(flags) / len(flags)


def _is_id(cells: Sequence[str]) -> bool:
    return bool(_WORD_ID.fullmatch(cells[0]) or _NO_WORD_ID.fullmatch(cells[0]))


def _numbered(sentences: Sequence[Sentence]) -> bool:
    """Whether the first cells of nearly all sentences count their words, from 0 or 1."""
    right, longest = 0, 0
    for sentence in sentences:
        if not all(_is_id(cells) for _, cells in sentence):
            continue
        numbers = [int(cells[0]) for _, cells in sentence if _WORD_ID.fullmatch(cells[0])]
        if numbers and numbers == list(range(numbers[0], numbers[0] + len(numbers))):
            right += numbers[0] in (0, 1)
            longest = max(longest, len(numbers))
    return right >= (1 - _OTHERS) * len(sentences) and longest > 1
