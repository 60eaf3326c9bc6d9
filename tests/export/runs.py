"""Runs that were never trained, to be exported."""

from pathlib import Path

from mtljax.inference.run import Run
from tests.tiny_models import random_params


def untrained(make, config, tasks):
    """A run of random parameters."""
    model, data = make(config, tasks)
    parts = (data.tokenizer, data.layout, model, random_params(model))
    return Run(Path("untrained"), config, tasks, *parts, step=7)


def same(found, expected):
    """Asserts that answers are equal but for numbers, which are so to 1e-5."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            same(found[name], expected[name])
    elif isinstance(expected, float):
        assert abs(found - expected) <= 1e-5 * max(1, abs(expected))
    else:
        assert found == expected
