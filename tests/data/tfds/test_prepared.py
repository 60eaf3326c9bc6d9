import json
import os
import shutil
import warnings

import numpy as np
import pytest

from mtljax.data import load_source
from mtljax.data.sources.hold_out import held_out_rows
from mtljax.errors import UserError


def test_snips(tfds_dir):
    source = load_source("snips", tfds_dir)
    assert {name: f.kind for name, f in source.features.items()} == {
        "text": "text",
        "tokens": "tokens",
        "label": "label",
        "tags": "tags",
    }
    assert len(source.features["label"].classes) == 7
    assert len(source.features["tags"].classes) == 72
    rows = source.splits["validation"]
    assert len(rows) == 700
    assert all(len(row["tokens"]) == len(row["tags"]) for row in rows)
    assert isinstance(rows[0]["text"], str) and isinstance(rows[0]["label"], int)
    assert [type(token) for token in rows[0]["tokens"][:2]] == [str, str]


@pytest.mark.parametrize("name", ["snips/1.0.0", None])
def test_a_version_or_a_path_will_do(tfds_dir, name):
    source = load_source(name, tfds_dir) if name else load_source(str(tfds_dir / "snips"))
    assert source.identity == load_source("snips", tfds_dir).identity


def test_newest_version_by_number(tfds_dir, tmp_path):
    for version in ("1.0.0", "1.10.0", "1.9.0"):
        shutil.copytree(tfds_dir / "nyt_sentiment/1.0.0", tmp_path / "nyt_sentiment" / version)
    source = load_source("nyt_sentiment", tmp_path)
    assert source.identity.endswith("1.10.0")
    assert source.features["rating"].kind == "number"


@pytest.fixture
def damaged(tfds_dir, tmp_path):
    shutil.copytree(tfds_dir / "wnut17", tmp_path / "wnut17")
    folder = tmp_path / "wnut17/1.0.0"
    for path in folder.iterdir():
        os.chmod(path, 0o644)
    return folder


@pytest.mark.parametrize("keep", [0, 100, 100_000, 300_000])
def test_a_record_file_cut_short(damaged, keep):
    path = damaged / "wnut17-train.array_record-00000-of-00001"
    path.write_bytes(path.read_bytes()[:keep])
    source = load_source("wnut17", damaged.parent.parent)
    with pytest.raises(
        UserError, match="data set 'wnut17', split 'train': cannot be read"
    ) as error:
        list(source.splits["train"])
    assert "\n" not in str(error.value)


def test_damaged_descriptions(damaged):
    (damaged / "features.json").write_text("{")
    with pytest.raises(UserError, match="not in TFDS format"):
        load_source("wnut17", damaged.parent.parent)


def test_a_set_without_train(damaged):
    info = json.loads((damaged / "dataset_info.json").read_text())
    info["splits"] = [split for split in info["splits"] if split["name"] != "train"]
    (damaged / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(UserError, match="no train split"):
        load_source("wnut17", damaged.parent.parent)


def test_validation_is_held_out_where_there_is_none(damaged):
    whole = list(load_source("wnut17", damaged.parent.parent).splits["train"])
    info = json.loads((damaged / "dataset_info.json").read_text())
    info["splits"] = [split for split in info["splits"] if split["name"] != "validation"]
    info["disableShuffling"] = False
    (damaged / "dataset_info.json").write_text(json.dumps(info))
    splits = load_source("wnut17", damaged.parent.parent).splits
    assert list(splits["validation"]) == whole[9::10]
    assert list(splits["train"]) == [row for i, row in enumerate(whole) if i % 10 != 9]
    # Where the order may say something, by what the rows hold.
    info["disableShuffling"] = True
    (damaged / "dataset_info.json").write_text(json.dumps(info))
    splits = load_source("wnut17", damaged.parent.parent).splits
    held_out = held_out_rows(whole, ["tokens"], ["tags"])
    assert list(splits["validation"]) == [r for r, out in zip(whole, held_out, strict=True) if out]
    assert list(splits["train"]) == [r for r, out in zip(whole, held_out, strict=True) if not out]


def test_any_feature_names_and_odd_text(tmp_path):
    """A set written here, as a user would, without TensorFlow."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_datasets as tfds

        class Mine(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("2.0.0")

            def _info(self):
                return self.dataset_info_from_configs(
                    features=tfds.features.FeaturesDict(
                        {
                            "Body of text": tfds.features.Text(),
                            "stars": tfds.features.Scalar(np.float32),
                            "level": np.int64,
                            "kinds": tfds.features.Sequence(
                                tfds.features.ClassLabel(names=["O", "B-é"])
                            ),
                            "picture": tfds.features.Tensor(shape=(2, 2), dtype=np.float32),
                        }
                    )
                )

            def _split_generators(self, dl_manager):
                return {"train": self._generate_examples()}

            def _generate_examples(self):
                for i, text in enumerate([b"ok", b"\xff\x00", "é".encode(), b""] * 5):
                    picture = np.zeros((2, 2), np.float32)
                    yield (
                        i,
                        {
                            "Body of text": text,
                            "stars": i / 2,
                            "level": i,
                            "kinds": [1, 0],
                            "picture": picture,
                        },
                    )

        Mine(data_dir=str(tmp_path), file_format="array_record").download_and_prepare()
    source = load_source("mine", tmp_path)
    assert set(source.features) == {"Body of text", "stars", "level", "kinds"}
    rows = sorted(
        [*source.splits["train"], *source.splits["validation"]], key=lambda row: row["level"]
    )
    assert [row["Body of text"] for row in rows[:4]] == ["ok", "\ufffd\x00", "é", ""]
    assert [row["stars"] for row in rows[:3]] == [0.0, 0.5, 1.0]
    assert source.features["kinds"].classes == ("O", "B-é")


def test_large_splits_are_read_block_by_block(tfds_dir, monkeypatch):
    held = load_source("wnut17", tfds_dir)
    monkeypatch.setattr("mtljax.data.tfds.prepared.IN_MEMORY", 100)
    streamed = load_source("wnut17", tfds_dir)
    for split, rows in held.splits.items():
        assert list(streamed.splits[split]) == list(rows)
        assert streamed.splits[split][7:9] == rows[7:9]
        assert streamed.splits[split][-1] == rows[-1]


def test_the_fingerprint_follows_the_files(damaged):
    def digest():
        found = load_source("wnut17", damaged.parent.parent).fingerprint
        assert found is not None
        return found()

    before = digest()
    assert digest() == before
    path = damaged / "wnut17-test.array_record-00000-of-00001"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert digest() != before
