import pytest

from mtljax.data import load_source
from mtljax.data.catalogue.case_and_punctuation import case_and_punctuation, restored_text


def test_is_the_inverse_of_the_rule_on_real_sentences():
    source = load_source("movie_sentiment")
    kept = {"LOWER": "O"}
    for row in source.splits["validation"]:
        words, tags = case_and_punctuation(row["text"])
        tags = [kept.get(tag, tag) for tag in tags]
        again, tags_again = case_and_punctuation(restored_text(words, tags))
        assert again == words
        assert [kept.get(tag, tag) for tag in tags_again] == tags


@pytest.mark.parametrize(
    ("words", "tags", "text"),
    [
        ([], [], ""),
        (["3d"], ["TITLE"], "3D"),
        (["o'neill", "well-known"], ["TITLE", "O"], "O'neill well-known"),
        (["a", "film"], ["TITLE+DASH", "LOWER+COLON"], "A - film:"),
        (["1999"], ["TITLE+PERIOD"], "1999."),
        (["x"], ["SOMETHING+ELSE"], "x"),
    ],
)
def test_single_words(words, tags, text):
    assert restored_text(words, tags) == text


def test_words_and_tags_must_agree():
    with pytest.raises(ValueError, match="zip"):
        restored_text(["a"], [])
