"""The characters of a word as numbers of a byte, four of them in an int32."""

import numpy as np


def packed_characters(word: str, count: int) -> list[int]:
    """The spelling of a word, for models that read characters.

    A character of ASCII is itself, another one is 128 and the lower seven bits of its code point:
    the letters of most alphabets have different numbers. NUL is 128, as 0 stands for none.

    Args:
        word: the word, with its capitals.
        count: characters that are read; of a longer word the first and the last half.

    Returns:
        `ceil(count / 4)` numbers from -2^31 to 2^31 - 1, the first character in the lowest byte.

    >>> packed_characters("abcdef", 4) == packed_characters("abef", 4)
    True
    >>> [hex(number) for number in packed_characters("abc", 5)]
    ['0x636261', '0x0']
    """
    if len(word) > count:
        word = word[: (count + 1) // 2] + word[len(word) - count // 2 :]
    codes = [ord(character) for character in word]
    read = bytes(code if 0 < code < 128 else 128 + code % 128 for code in codes)
    return np.frombuffer(read.ljust(-(-count // 4) * 4, b"\0"), "<i4").tolist()
