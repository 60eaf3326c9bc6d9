import shutil
from pathlib import Path

import pytest

from mtljax.data import load_source
from mtljax.errors import UserError
from mtljax.tasks import Dataset
from tests.fake_store import store as store


def test_embedded_names_come_first(tmp_path):
    assert load_source("movie_lm", tmp_path).name == "movie_lm"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("moive_lm", "did you mean 'movie_lm'"),
        ("zzzz", "known: movie_sentiment"),
        ("imdb_reviews", "in the TFDS catalogue but not prepared"),
        ("glue/sst2", "mtljax prepare glue/sst2 --data-dir"),
        ("conll2003:1.0.0", "mtljax prepare conll2003:1.0.0 --data-dir"),
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


def test_a_file_is_named_as_a_source(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n")
    with pytest.raises(UserError, match=r"which is a file: .*sources: \{NAME: \{path: .*a\.csv"):
        load_source(str(tmp_path / "a.csv"), None)


@pytest.mark.parametrize("name", ["movie_lm", "snips"])
def test_missing_data_directory(tmp_path, name):
    with pytest.raises(UserError, match="no such directory"):
        load_source(name, tmp_path / "none")


def test_a_name_without_a_config_is_the_default_one(tfds_dir, tmp_path):
    shutil.copytree(tfds_dir / "nyt_sentiment/1.0.0", tmp_path / "set/plain/1.0.0")
    with pytest.raises(UserError, match="unknown data set 'set'"):
        load_source("set", tmp_path)
    (tmp_path / "set/.config").mkdir()
    (tmp_path / "set/.config/metadata.json").write_text('{"default_config_name": "plain"}')
    source = load_source("set", tmp_path)
    assert source.identity.endswith("set/plain/1.0.0")
    for name in ("set/plain", "set/plain:1.0.0", "set/plain/1.0.0"):
        assert load_source(name, tmp_path).identity == source.identity
    (tmp_path / "set/.config/metadata.json").write_text("{")
    with pytest.raises(UserError, match="unknown data set 'set'"):
        load_source("set", tmp_path)


def test_no_path_there_has_two_slashes_in_a_row(store, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "mtljax.data.catalogue.load_source.copied",
        lambda what, path: asked.append(path) or Path("/none"),
    )
    for dataset in ("some", Dataset("mine", path="rows.csv")):
        with pytest.raises(UserError):
            load_source(dataset, "s3://bucket/tfds/")
    assert asked == ["s3://bucket/tfds/some", "s3://bucket/tfds/rows.csv"]


def test_sets_and_files_of_another_scheme(store, tfds_dir, tmp_path):
    shutil.copytree(tfds_dir / "nyt_sentiment", store / "bucket/tfds/nyt_sentiment")
    (store / "bucket/tfds/rows.csv").write_text("text,label\na,x\nb,y\n")
    (store / "bucket/tfds/other.bin").write_bytes(b"0" * 100)
    rows = load_source("nyt_sentiment", tfds_dir)
    for name, data_dir in (
        ("nyt_sentiment", "s3://bucket/tfds"),
        ("nyt_sentiment:1.0.0", "s3://bucket/tfds/"),
        ("s3://bucket/tfds/nyt_sentiment", None),
    ):
        found = load_source(name, data_dir)
        assert len(found.splits["test"]) == len(rows.splits["test"])
        assert found.splits["test"][3] == rows.splits["test"][3]
    for path, data_dir in (("rows.csv", "s3://bucket/tfds"), ("s3://bucket/tfds/rows.csv", None)):
        found = load_source(Dataset("mine", path=path), data_dir)
        labels = [row["label"] for split in found.splits.values() for row in split]
        assert sorted(map(str, labels)) == ["x", "y"] or sorted(labels) == [0, 1]
    # What no task names is not copied.
    assert not list((tmp_path / "cache").rglob("other.bin"))
    with pytest.raises(UserError, match="data set s3://bucket/tfds/none: no such file or direct"):
        load_source("none", "s3://bucket/tfds")
    assert load_source("movie_sentiment", "s3://bucket/tfds").splits
