import re

import pytest

from mtljax.data.catalogue.case_and_punctuation import case_and_punctuation
from mtljax.data.catalogue.embedded import EMBEDDED, load_embedded

SIZES = {
    "movie_sentiment": (8473, 1029, 1064),
    "movie_casepunct": (8415, 1027, 1059),
    "movie_lm": (8473, 1029, 1064),
    "amazon_sentiment": (2917, 343, 340),
    "us_address": (1242, 166, 169),
    "moby_dick": (2301, 128, 128),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name):
    source = load_embedded(name)
    assert tuple(len(source.splits[s]) for s in ("train", "validation", "test")) == SIZES[name]
    assert set(source.splits["test"][0]) == set(source.features)


def test_all_sets_are_known():
    assert set(EMBEDDED) == set(SIZES)


def test_sentiment_is_the_sign_of_the_rating():
    for name in ("movie_sentiment", "amazon_sentiment"):
        source = load_embedded(name)
        assert source.features["label"].classes == ("negative", "positive")
        assert all(row["label"] == (row["rating"] > 0) for row in source.splits["train"])


def test_movie_tasks_on_the_same_text_share_it():
    sentiment, model = load_embedded("movie_sentiment"), load_embedded("movie_lm")
    assert sentiment.identity == model.identity
    for split in sentiment.splits:
        texts = [row["text"] for row in sentiment.splits[split]]
        assert texts == [row["text"] for row in model.splits[split]]
    assert load_embedded("movie_casepunct").identity != model.identity


def test_casepunct_has_fourteen_tags_and_no_punctuation():
    source = load_embedded("movie_casepunct")
    classes = source.features["tags"].classes
    assert len(classes) == 14
    assert classes[0] == "O"
    assert {"TITLE+COMMA", "LOWER+PERIOD", "UPPER"} <= set(classes)
    for row in source.splits["train"][:500]:
        assert len(row["tokens"]) == len(row["tags"]) >= 3
        assert all(re.match(r"\w", token) and token == token.lower() for token in row["tokens"])


def test_most_frequent_tag_of_casepunct():
    # A baseline that always says O is right as often as O is frequent.
    test = [tag for row in load_embedded("movie_casepunct").splits["test"] for tag in row["tags"]]
    assert test.count(0) / len(test) == pytest.approx(0.782, abs=0.001)


@pytest.mark.parametrize(
    ("text", "words", "tags"),
    [
        ("", [], []),
        ("...", [], []),
        ("I saw it", ["i", "saw", "it"], ["TITLE", "LOWER", "LOWER"]),
        ("U.S. films", ["u.s", "films"], ["UPPER+PERIOD", "LOWER"]),
        ("well-made; truly…", ["well-made", "truly"], ["LOWER+COLON", "LOWER+PERIOD"]),
        ("yes (no)", ["yes", "no"], ["LOWER", "LOWER"]),
        ("it's - what?", ["it's", "what"], ["LOWER+DASH", "LOWER+QUESTION"]),
        ("3D 1990s!", ["3d", "1990s"], ["TITLE", "LOWER+EXCLAIM"]),
    ],
)
def test_case_and_punctuation(text, words, tags):
    assert case_and_punctuation(text) == (words, tags)


def test_addresses_have_thirty_tags():
    source = load_embedded("us_address")
    assert len(source.features["tags"].classes) == 30
    row = source.splits["train"][0]
    assert row["tokens"] == ["3600", "West", "5th", "Ave"]
    names = [source.features["tags"].classes[tag] for tag in row["tags"]]
    assert names == [
        "AddressNumber",
        "StreetNamePreDirectional",
        "StreetName",
        "StreetNamePostType",
    ]
