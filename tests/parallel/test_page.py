"""The example of docs/parallel.md runs."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

PAGE = Path(__file__).resolve().parents[2] / "docs/parallel.md"


@pytest.mark.skipif(not PAGE.exists(), reason="a source distribution has no docs")
def test_example():
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names = {}
    exec(compile(block, str(PAGE), "exec"), names)
    params, update = names["params"], names["update"]
    assert jax.tree.map(jnp.shape, update) == jax.tree.map(jnp.shape, params)
    # Two gradients of one direction, each divided by its norm.
    flat = ravel_pytree(params)[0]
    expected = 2 * flat / np.linalg.norm(flat)
    np.testing.assert_allclose(ravel_pytree(update)[0], expected, rtol=1e-6)
