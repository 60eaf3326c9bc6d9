"""The card of each method says what the guide does, which was written by hand."""

import re
from pathlib import Path

import pytest

from mtljax import aggregation, weighting
from mtljax.training.method_cards import COSTS, method_cards

GUIDE = Path(__file__).resolve().parents[2] / "docs/weighting.md"
READS = {
    "losses": "losses",
    "losses, again after the step": "losses_after",
    "losses on validation data": "validation_losses",
    "norms of the gradients": "gramian_diagonal",
    "Gramian of the gradients": "gramian",
    "Gramian between two batches": "cross_gramian",
    "products with validation gradients": "validation_gradients",
    "the gradients themselves": "gradients",
}


@pytest.mark.skipif(not GUIDE.exists(), reason="a source distribution has no docs")
def test_the_cards_and_the_guide_agree():
    text = GUIDE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\w, ]+) \| [^|]* \| (`.*) \|$", text, re.MULTILINE)
    guide = {name: READS[reads] for reads, names in rows for name in re.findall(r"`(\w+)`", names)}
    guide |= {"db_mtl": "gramian_diagonal"}  # stands in two rows; with `beta` it reads gradients
    del guide["beta"]
    cards = method_cards()
    assert {name: _most(card.reads) for name, card in cards.items()} == guide
    assert cards.keys() == weighting.METHODS.keys() | aggregation.METHODS.keys()
    for name, card in cards.items():
        sentence = card.when.rstrip(".").replace("mtljax.aggregation.db_mtl", "db_mtl with beta")
        row = re.search(rf"^\| `{name}` \| (.*) \|$", text, re.MULTILINE)
        assert row is not None and row[1].replace("`", "") == sentence, name


def _most(reads):
    """What is said of it first; `forum` reads validation gradients and inner losses besides."""
    return "gradients" if "gradients" in reads else reads[0]


def test_costs_follow_from_what_is_read():
    cards = method_cards()
    assert cards["mgda"].reads == ("gramian", "losses")
    assert cards["mgda"].costs == cards["upgrad"].costs == COSTS["gramian"]
    assert cards["fixed"].options == {"weights": None}
    assert cards["forum"].costs == COSTS["inner_losses"]
    assert [*cards][0] == "cosmos" and [*cards][-1] == "forum"
