"""The examples of docs/gradients.md run, one after the other."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs/gradients.md"


@pytest.mark.skipif(not PAGE.exists(), reason="a source distribution has no docs")
def test_examples():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 6
    names = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert jax.tree.map(jnp.shape, names["direction"]) == {"words": (50_000, 4), "kernel": (4, 4)}
    np.testing.assert_allclose(
        names["last"] + names["grams"]["words"], sum(names["grams"].values()), rtol=1e-6
    )
    rows = np.asarray(names["sample_grads"]["kernel"]).reshape(6, -1)
    np.testing.assert_allclose(names["sample_gramian"], rows @ rows.T, rtol=1e-5, atol=1e-6)
    assert (rows @ np.asarray(names["of_samples"]["kernel"]).ravel() > -1e-4).all()
