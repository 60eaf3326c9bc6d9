"""Splitting of a text into words and marks, and the spaces between them when it is written back.

A word is letters and digits with the combining marks and joiners that belong to them, so that
scripts that write vowels as marks (Hindi, Tamil, Thai, vowelled Arabic and Hebrew), joiners inside
words (Persian) and decomposed letters (NFD) keep their words. A mark is one character as it is
seen: an emoji with its modifiers, those that it is joined with, or the two letters of a flag.
"""

import functools
import itertools
import re
import unicodedata

WORD_RULE = 2
"""The present rule; by rule 1 each combining mark and joiner was a mark of its own."""

JOINERS = "\u200c\u200d"
"""The zero-width non-joiner and joiner."""

FLAG = "[\U0001f1e6-\U0001f1ff]{2}"
"""A pattern of the two regional indicators of a flag."""

MODIFIERS = "\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f"
"""Ranges of skin tones and of the tags in flags of regions."""

_RULE_1 = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")


def split_words(text: str, limit: int | None = None, rule: int = WORD_RULE) -> list[str]:
    """Splits a text into words and marks.

    Args:
        text: any text.
        limit: words at most; None for no limit.
        rule: 1 for tokenizers that were trained by it.

    >>> split_words("Don't stop, well-known X!")
    ["Don't", 'stop', ',', 'well', '-', 'known', 'X', '!']
    >>> split_words("मुझे हिन्दी", rule=1)[:3], split_words("मुझे हिन्दी")
    (['म', 'ु', 'झ'], ['मुझे', 'हिन्दी'])
    """
    # In ASCII both rules say the same.
    pattern = _RULE_1 if rule == 1 or text.isascii() else _rule_2()
    if limit is None or len(text) <= limit:
        return pattern.findall(text)
    matches = itertools.islice(pattern.finditer(text), limit)
    return [match.group() for match in matches]


def usual_spaces(text: str) -> str:
    """A text with spaces between all words and marks, without those that are not usual.

    >>> usual_spaces("good , ( yes ) !"), usual_spaces("a well - known £ 3 . 50 , or -")
    ('good, (yes)!', 'a well-known £3.50, or -')
    >>> usual_spaces("पसंद है ।"), usual_spaces("你好 ， 世界 。")
    ('पसंद है।', '你好，世界。')
    """
    for pattern, replacement in _SPACES:
        text = re.sub(pattern, replacement, text)
    # A hyphen between words is far more frequent than a dash of that form.
    return (re.compile(r"(?<=\w) - (?=\w)") if text.isascii() else _hyphen()).sub("-", text)


_SPACES = (
    (r" ([.,;:!?…%)\]}।॥،؛؟۔])", r"\1"),
    (r"([(\[{$£€¥]) ", r"\1"),
    (r"(?<=\d\.) (?=\d)", ""),
    # Full-width punctuation has its own space.
    (r" ?([、。，！？：；（）【】「」『』《》〈〉]) ?", r"\1"),
)


def words_pattern(rule: int = WORD_RULE) -> str:
    """The regular expression whose matches `split_words` returns."""
    return (_RULE_1 if rule == 1 else _rule_2()).pattern


def usual_spaces_patterns() -> list[tuple[str, str]]:
    """The regular expressions that `usual_spaces` replaces, one after another, and by what."""
    return [*_SPACES, (_hyphen().pattern, "-")]


@functools.cache
def _rule_2() -> re.Pattern[str]:
    marks = _combining_marks()
    # As \w+ with the marks in it, which is twice as fast as a class of both.
    letters = rf"\w+(?:[{marks}{JOINERS}]+\w*)*"
    sign = rf"[^\w\s][{marks}{MODIFIERS}]*"
    return re.compile(rf"{letters}(?:['’]{letters})*|{FLAG}|{sign}(?:\u200d{sign})*")


@functools.cache
def _hyphen() -> re.Pattern[str]:
    return re.compile(rf"(?<=[\w{_combining_marks()}{JOINERS}]) - (?=\w)")


@functools.cache
def _combining_marks() -> str:
    """The ranges of all combining marks, for a class of characters: no class of Python has them."""
    # There are none elsewhere, as a test says.
    points = itertools.chain(range(0x300, 0x20000), range(0xE0100, 0xE01F0))
    marks = [point for point in points if unicodedata.category(chr(point))[0] == "M"]
    runs = itertools.groupby(enumerate(marks), key=lambda pair: pair[1] - pair[0])
    spans = ([point for _, point in run] for _, run in runs)
    return "".join(f"{chr(span[0])}-{chr(span[-1])}" for span in spans)
