"""Case and punctuation put back into lower-cased words: the inverse of movie_casepunct's rule."""

from collections.abc import Sequence

_MARKS = {
    "COMMA": ",",
    "PERIOD": ".",
    "QUESTION": "?",
    "EXCLAIM": "!",
    "COLON": ":",
    "DASH": " -",
}


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
        parts.append(word + _MARKS.get(mark, ""))
    return " ".join(parts)


def _title(word: str) -> str:
    for i, character in enumerate(word):
        if character.isalpha():
            return word[:i] + character.upper() + word[i + 1 :]
    return word
