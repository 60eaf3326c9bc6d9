"""``python -m mtljax``: the same as the `mtljax` command."""

import sys

from mtljax.cli import main

if __name__ == "__main__":
    sys.exit(main())
