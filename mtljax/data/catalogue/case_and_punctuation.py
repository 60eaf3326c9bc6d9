"""Case and punctuation of English text as tags of its lower-cased words, and back."""

import functools
import re
from collections.abc import Sequence

CASEPUNCT_PATTERN = re.compile(r"\w+(?:['’.\-]\w+)*|[^\w\s]")
"""The tokens of movie_casepunct: words with their inner marks, and single marks."""

_MARKS = {
    ",": "COMMA",
    ".": "PERIOD",
    "…": "PERIOD",
    "?": "QUESTION",
    "!": "EXCLAIM",
    ":": "COLON",
    ";": "COLON",
    "-": "DASH",
}

_WRITTEN = {
    "COMMA": ",",
    "PERIOD": ".",
    "QUESTION": "?",
    "EXCLAIM": "!",
    "COLON": ":",
    "DASH": " -",
}


def case_and_punctuation(text: str) -> tuple[list[str], list[str]]:
    """Takes case and punctuation out of a text and returns them as tags.

    Args:
        text: a sentence as it is written.

    Returns:
        The lower-cased words, and for each of them `UPPER` (more than one letter, all capitals),
        `TITLE` (the first letter a capital) or `LOWER`, joined by `+` to the first mark right
        after it, if any.

    >>> case_and_punctuation("Oh, NASA did it!")
    (['oh', 'nasa', 'did', 'it'], ['TITLE+COMMA', 'UPPER', 'LOWER', 'LOWER+EXCLAIM'])
    """
    matches = CASEPUNCT_PATTERN.findall(text)
    words, tags = [], []
    for token, after in zip(matches, [*matches, ""][1:], strict=True):
        found = _word(token)
        if found is None:
            continue
        word, case = found
        mark = _MARKS.get(after)
        words.append(word)
        tags.append(f"{case}+{mark}" if mark else case)
    return words, tags


@functools.lru_cache(maxsize=1 << 14)
def _word(token: str) -> tuple[str, str] | None:
    """A word in lower case, and its case; None for a mark. Few words are most of a text."""
    if not re.match(r"\w", token):
        return None
    letters = [character for character in token if character.isalpha()]
    if len(letters) > 1 and all(letter.isupper() for letter in letters):
        return token.lower(), "UPPER"
    return token.lower(), "TITLE" if letters and letters[0].isupper() else "LOWER"


def restored_text(words: Sequence[str], tags: Sequence[str]) -> str:
    """Write words as their tags say.

    Args:
      words: lower-cased.
      tags: for each word its case (`UPPER`, `TITLE`, `LOWER`, or `O` for LOWER with no mark), with
        `+` and the name of a mark where one follows.

    Returns:
      The text; taking its case and punctuation out again gives the same words and tags.

    >>> restored_text(["oh", "nasa", "did", "it"], ["TITLE+COMMA", "UPPER", "O", "LOWER+EXCLAIM"])
    'Oh, NASA did it!'
    """
    parts = []
    for word, tag in zip(words, tags, strict=True):
        case, _, mark = tag.partition("+")
        if case == "UPPER":
            word = word.upper()
        elif case == "TITLE":
            word = _title(word)
        parts.append(word + _WRITTEN.get(mark, ""))
    return " ".join(parts)


def _title(word: str) -> str:
    for i, character in enumerate(word):
        if character.isalpha():
            return word[:i] + character.upper() + word[i + 1 :]
    return word
