"""Scripts that are written without blanks between words, and the units that their texts have."""

import re
import unicodedata
from collections.abc import Iterable

_HAN = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
_KANA = "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f\U0001aff0-\U0001b16f"
# Thai, Lao, Tibetan, Myanmar and Khmer.
_OTHERS = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\ua9e0-\ua9ff\uaa60-\uaa7f"

_LETTER = {
    "Chinese": re.compile(f"[{_HAN}]"),
    "Japanese": re.compile(f"[{_KANA}]"),
    "without blanks": re.compile(f"[{_OTHERS}]"),
}
_ANY = re.compile(f"[{_HAN}{_KANA}{_OTHERS}]")

_SHARE_OF_TEXTS = 0.1  # below, single texts or names are cited
_SHARE_OF_KANA = 0.05  # of the letters: Japanese texts have a half, Chinese ones cite a name


def unspaced_script(texts: Iterable[str]) -> str | None:
    """The script of texts whose words have no blanks between them.

    Args:
        texts: any texts.

    Returns:
        ``"Chinese"``, ``"Japanese"`` or ``"without blanks"``, for Thai, Lao, Tibetan, Myanmar and
        Khmer, if at least a tenth of the texts have more letters of such scripts than others; else
        None.

    >>> (
    ...     unspaced_script(["我喜欢猫。"]),
    ...     unspaced_script(["猫が好き"]),
    ...     unspaced_script(["a cat 猫"]),
    ... )
    ('Chinese', 'Japanese', None)
    """
    count = unspaced = 0
    letters = dict.fromkeys(_LETTER, 0)
    for text in texts:
        count += 1
        if _ANY.search(text) is None:
            continue
        of_text = {script: len(letter.findall(text)) for script, letter in _LETTER.items()}
        if 2 * sum(of_text.values()) > sum(map(str.isalpha, text)):
            unspaced += 1
            letters = {script: letters[script] + of_text[script] for script in letters}
    if not unspaced or unspaced < _SHARE_OF_TEXTS * count:
        return None
    if letters["Japanese"] > _SHARE_OF_KANA * sum(letters.values()):
        return "Japanese"
    return max(("Chinese", "without blanks"), key=letters.__getitem__)


def units(text: str) -> list[str]:
    """The units of a text between blanks; in scripts without blanks each letter is one.

    >>> units("the cat"), units("我喜欢 cats。"), units("ที่นี่")
    (['the', 'cat'], ['我', '喜', '欢', 'cats。'], ['ที่', 'นี่'])
    """
    if _ANY.search(text) is None:
        return text.split()
    parts: list[str] = []
    alone = False
    for character in text:
        # The vowel signs and tones of a letter stay with it.
        if unicodedata.category(character)[0] == "M":
            parts.append(character)
            continue
        letter = _ANY.match(character) is not None
        parts.append(f" {character}" if letter or alone else character)
        alone = letter
    return "".join(parts).split()
