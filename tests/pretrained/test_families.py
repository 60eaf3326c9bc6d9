"""Every family against what transformers computes; `golden/make.py` made the models."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest

from mtljax.pretrained import load

GOLDEN = Path(__file__).parent / "golden"
FAMILIES = sorted(path.name for path in GOLDEN.iterdir() if path.is_dir() and path.name[0] != "_")
BOUND = 3e-6  # of the largest hidden state


@functools.cache
def model(family):
    return load(GOLDEN / family)


@functools.cache
def golden(family):
    with np.load(GOLDEN / family / "golden.npz") as arrays:
        return dict(arrays)


def distance(found, expected, mask=None):
    apart = np.abs(np.asarray(found) - expected)
    return (apart if mask is None else apart[mask]).max() / np.abs(expected).max()


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states(family):
    g = golden(family)
    mask = g["mask"]
    found = model(family).hidden_states(g["tokens"], mask)
    assert np.isfinite(found).all()  # padding too
    assert distance(found, g["hidden"], mask) < BOUND
    if "typed" in g:
        found = model(family).hidden_states(g["tokens"], mask, g["types"])
        assert distance(found, g["typed"], mask) < BOUND
        assert distance(g["typed"], g["hidden"], mask) > 0.1


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_mask(family):
    g = golden(family)
    assert distance(model(family).hidden_states(g["tokens"][:1]), g["unmasked"]) < BOUND


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_rows(family):
    g = golden(family)
    mask = g["mask"]
    # All texts in one row, after padding, each with positions of its own.
    segments = np.concatenate([[0, 0], np.repeat([1, 2, 3], mask.sum(1)), [0]])
    tokens = np.zeros(len(segments), np.int32)
    tokens[segments > 0] = g["tokens"][mask]
    found = model(family).hidden_states(tokens[None], segments[None])
    assert distance(found[0][segments > 0], g["hidden"][mask]) < BOUND


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens(family):
    g = json.loads((GOLDEN / family / "golden.json").read_text())
    if not g:
        assert model(family).tokenizer is None
        return
    for name, texts in (("single", g["texts"]), ("pair", [tuple(pair) for pair in g["pairs"]])):
        found = model(family).tokens(texts)
        ids = [row[kept].tolist() for row, kept in zip(found.tokens, found.mask, strict=True)]
        assert ids == g[name]["input_ids"]
        types = [row[kept].tolist() for row, kept in zip(found.types, found.mask, strict=True)]
        if "token_type_ids" in g[name]:
            assert types == g[name]["token_type_ids"]


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_passed_over(family):
    report = model(family).report
    assert not report.unexpected
    names = {read.name for read in report.read} | {name for name, _ in report.left}
    assert names | set(report.tied) == set(tensors(family))


def tensors(family):
    from safetensors import safe_open

    with safe_open(GOLDEN / family / "model.safetensors", "np") as file:
        return list(file.keys())
