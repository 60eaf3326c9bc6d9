"""Every family against what transformers computes; `golden/make.py` made the models."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest

from mtljax.pretrained import greedy_tokens, load

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
    tokens = g["tokens"][[0, 0, 0]]  # of one shape with the others: one program
    found = model(family).hidden_states(tokens)
    assert distance(found, g["unmasked"][[0, 0, 0]]) < BOUND


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_rows(family):
    g = golden(family)
    mask = g["mask"]
    # The first text alone; after padding the two others in one row, with positions of their own.
    segments = np.zeros_like(mask, np.int32)
    segments[0], segments[1, 1:12] = 1, np.repeat([1, 2], mask[1:].sum(1))
    tokens = np.zeros_like(g["tokens"])
    tokens[segments > 0] = g["tokens"][mask]
    found = np.asarray(model(family).hidden_states(tokens, segments))
    assert distance(found[segments > 0], g["hidden"][mask]) < BOUND


@pytest.mark.parametrize("family", [name for name in FAMILIES if "generated" in golden(name)])
def test_the_most_probable_tokens_from_the_cache(family):
    g = golden(family)
    prompts = np.pad(g["tokens"][:1], ((0, 0), (3, 0)))  # ends at the last column
    found = greedy_tokens(model(family), prompts, 64, mask=np.arange(16)[None] >= 3)
    assert found[0].tolist() == g["generated"].tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens(family):
    g = json.loads((GOLDEN / family / "golden.json").read_text())
    if not g:
        assert model(family).tokenizer is None
        return
    if model(family).causal:
        # A text begins with a mark, and nothing follows it; pairs have no form of their own.
        start = model(family).module.marks.start
        found = model(family).tokens(g["texts"])
        ids = [row[kept].tolist() for row, kept in zip(found.tokens, found.mask, strict=True)]
        assert ids == [[start, *row] for row in g["single"]["input_ids"]]
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
