import pytest

from mtljax.data import load_source
from mtljax.data.catalogue.embedded import EMBEDDED
from mtljax.data.catalogue.tagged_text import PLAIN, TAGGED_TEXTS, tagged_text

SETS = tuple(TAGGED_TEXTS)  # before a fixture adds its own


def test_every_set_of_the_table_is_in_the_catalogue():
    assert {*SETS} <= EMBEDDED.keys()


@pytest.mark.parametrize("name", SETS)
def test_a_restored_text_is_split_into_the_words_of_the_data_set(name):
    source, form = load_source(name), tagged_text(name)
    assert form.restore is not None
    classes = source.features["tags"].classes
    for row in source.splits["test"][:200]:
        text = form.restore(row["tokens"], [classes[tag] for tag in row["tags"]])
        assert form.split(text) == form.split(row["tokens"]) == row["tokens"]


@pytest.mark.parametrize("dataset", ["us_address", "elsewhere", ("movie_casepunct", "us_address")])
def test_other_data_sets_are_plain(dataset):
    assert tagged_text(dataset) == PLAIN
    assert PLAIN.split(["a b", "c"]) == ["a b", "c"]
    assert PLAIN.restore is None
