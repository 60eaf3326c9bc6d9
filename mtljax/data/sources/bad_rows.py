"""What malformed rows and unreadable files do."""

import lzma
import zlib
from typing import Literal

BadRows = Literal["stop", "skip"]
"""What a malformed row does: stop with an error, or be left out and counted."""

READ_ERRORS = (OSError, EOFError, lzma.LZMAError, zlib.error)
"""What reading a damaged or missing file raises, compressed or not."""
