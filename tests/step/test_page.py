"""The examples of docs/train_step.md run, one after the other."""

import dataclasses
import re
from pathlib import Path

import pytest

from mtljax.step.options import StepOptions

PAGE = Path(__file__).resolve().parents[2] / "docs/train_step.md"


@pytest.mark.skipif(not PAGE.exists(), reason="a source distribution has no docs")
def test_examples():
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    *models, preferences = blocks
    assert len(models) == 2
    names = {}
    for block in models:
        exec(compile(block, str(PAGE), "exec"), names)
        # A constant leaves the variances of the targets, 0.25 and 2.
        level, trend = names["metrics"].losses
        assert level < 0.125 and trend < 0.5
    exec(compile(preferences, str(PAGE), "exec"), names)
    # Log 2 is the loss of the reference.
    assert len(names["metrics"].losses) == 3 and (names["metrics"].losses < 0.4).all()


@pytest.mark.skipif(not PAGE.exists(), reason="a source distribution has no docs")
def test_the_table_has_every_setting():
    text = PAGE.read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert rows >= {field.name for field in dataclasses.fields(StepOptions)} - {"sketch"}
