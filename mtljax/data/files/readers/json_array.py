"""A JSON array of objects, as in `.json` files, read as JSON lines."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from mtljax.data.files.readers.filtered import BLOCK, filtered
from mtljax.data.files.readers.open_file import open_file

_OUTSIDE = re.compile(rb'["\[\]{},\r\n]')
_INSIDE = re.compile(rb'["\\\r\n]')
_BLANKS = b" \t\r\n\xef\xbb\xbf"


def open_json(path: Path) -> IO[bytes]:
    """Opens a file of JSON lines, or of one array, whose items become lines.

    The number of a line is that in the file as long as no two items end on one line.

    Args:
        path: path of the file.

    Raises:
        ValueError: as `open_file`.
    """
    file: Any = open_file(path)
    return filtered(file, array_lines) if file.peek(512).lstrip(_BLANKS)[:1] == b"[" else file


def array_lines(file: IO[bytes]) -> Iterator[bytes]:
    """JSON lines of the items of an array, block by block.

    Damaged items become lines that are no JSON.

    Args:
        file: open at the start of the array.

    Raises:
        EOFError: if the array has no end.
        ValueError: for text after its end.
    """
    item = bytearray()
    # The line ends within an item go before it, so that it ends on the line where it did.
    ends = bytearray()
    depth = 0
    begun = on_line = in_text = escaped = False
    # Whether the item before the next comma is written: it may be, and need not be, an object.
    written = after_comma = False

    def line() -> bytes:
        nonlocal on_line
        # Two items without a comma between them, or a comma without an item, are no JSON.
        damage = b"," if written or not item.strip(_BLANKS) else b""
        text = (b"\n" if on_line else b"") + bytes(ends) + damage + item.strip(_BLANKS)
        item.clear()
        ends.clear()
        on_line = True
        return text

    while block := file.read(BLOCK):
        out: list[bytes] = []
        at = 0
        if not begun:
            at = block.find(b"[") + 1
            out.append(bytes(byte for byte in block[:at] if byte in b"\r\n"))
            begun, depth = at > 0, int(at > 0)
        while begun and at < len(block):
            if depth == 0:
                if block[at:].strip(_BLANKS):
                    raise ValueError("text after the end of the JSON array")
                break
            if escaped:
                item += block[at : at + 1]
                at, escaped = at + 1, False
                continue
            match = (_INSIDE if in_text else _OUTSIDE).search(block, at)
            item += block[at : match.start() if match else len(block)]
            if match is None:
                break
            sign, at = match.group(), match.end()
            if sign in b"\r\n":
                if depth == 1 and not item.strip(_BLANKS):
                    out.append(sign)
                    on_line = False
                else:
                    # In a text a line end is no JSON: another sign that is none stands for it.
                    item += b"\x0b" if in_text else b" "
                    ends += sign
            elif in_text:
                item += sign
                in_text, escaped = sign != b'"', sign == b"\\"
            elif depth == 1 and sign in b",]":
                if item.strip(_BLANKS) or not written and (sign == b"," or after_comma):
                    out.append(line())
                written, after_comma = False, sign == b","
                depth -= sign == b"]"
            else:
                item += sign
                in_text = sign == b'"'
                depth += (sign in b"[{") - (sign in b"]}")
                if depth == 1 and sign in b"]}":
                    out.append(line())
                    written = True
        yield b"".join(out)
    if depth or not begun:
        raise EOFError("the JSON array has no end")
