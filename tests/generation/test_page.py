"""The examples of docs/generation.md run."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs/generation.md"


@pytest.mark.skipif(not PAGE.exists(), reason="a source distribution has no docs")
def test_examples():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    # The others want the directory of a run.
    (block,) = [block for block in blocks if "Decodable" in block]
    names = {}
    exec(compile(block, str(PAGE), "exec"), names)
    assert names["texts"].tokens.shape == (2, 12)
    assert names["best"].tokens.shape == (2, 1, 12)
    assert (names["best"].scores < 0).all()
