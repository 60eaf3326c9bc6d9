"""The examples of docs/data.md and docs/tokenizers.md run."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mtljax.data

DOCS = Path(__file__).resolve().parents[2] / "docs"


def run(page: str, containing: str = "") -> dict[str, Any]:
    if not (DOCS / page).exists():
        pytest.skip("a source distribution has no docs")
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (block,) = (each for each in blocks if containing in each)
    names: dict[str, Any] = {}
    exec(compile(block, page, "exec"), names)
    return names


def test_a_loop_of_ones_own():
    names = run("data.md", "training_batches")
    batch, shape = names["batch"], names["data"].layout.shapes["movie_sentiment"]
    assert batch["tokens"].shape == batch["segments"].shape == batch["positions"].shape == (6, 64)
    assert batch["targets"]["movie_sentiment"].shape == (6, shape.max_segments)
    assert names["batches"].get_state() == {"next_index": 1}


def test_rates_of_a_schedule():
    """The multiplicative update of DoGE, with a tenth of uniform rates as the floor."""
    rates = np.asarray(run("data.md", "mixtures.doge")["rates"])
    np.testing.assert_allclose(rates, [0.524, 0.318, 0.158], atol=6e-4)
    assert rates.sum() == pytest.approx(1)


def test_words_of_a_list():
    assert run("tokenizers.md")["encodings"].words.tolist() == [-1, 0, -1, 1, -1, -1]


def test_the_docstring_lists_all_that_is_published():
    """Names that are imported as themselves, and no others."""
    source = Path(str(mtljax.data.__file__)).read_text(encoding="utf-8")
    published = re.findall(r" import (\w+) as \1$", source, re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", mtljax.data.__doc__ or ""))
    rooms = {path.name for path in Path(str(mtljax.data.__file__)).parent.iterdir()}
    assert named - rooms <= set(published) and set(published) <= named
    assert all(hasattr(mtljax.data, name) for name in published)
