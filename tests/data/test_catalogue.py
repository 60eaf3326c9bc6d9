import pytest

from mtljax.data import load_source
from mtljax.data.catalogue import catalogue_names
from mtljax.errors import UserError


def test_embedded_names_come_first(tmp_path):
    assert load_source("movie_lm", tmp_path).name == "movie_lm"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("moive_lm", "did you mean 'movie_lm'"),
        ("zzzz", "known: movie_sentiment"),
        ("imdb_reviews", "in the TFDS catalogue but not prepared"),
        ("glue/sst2", "in the TFDS catalogue but not prepared"),
        ("a\x00b", "unknown data set"),
        ("/", "unknown data set"),
    ],
)
def test_unknown_names(tmp_path, name, message):
    for data_dir in (tmp_path, None):
        with pytest.raises(UserError) as error:
            load_source(name, data_dir)
        assert message in str(error.value)
        assert ("no data directory" if data_dir is None else str(tmp_path)) in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["movie_lm", "snips"])
def test_missing_data_directory(tmp_path, name):
    with pytest.raises(UserError, match="no such directory"):
        load_source(name, tmp_path / "none")


def test_catalogue_has_sets_of_every_age():
    assert {"imdb_reviews", "glue", "ag_news_subset"} <= catalogue_names()
