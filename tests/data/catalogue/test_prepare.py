import contextlib
import functools
import http.server
import io
import json
import threading
import warnings
import zipfile

import numpy as np
import pytest

import mtljax.data.catalogue.prepare as prepare
from mtljax.data import DataOptions, load_data, load_source
from mtljax.data.catalogue.prepare import prepare_dataset
from mtljax.errors import UserError
from mtljax.tasks import Task

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tensorflow_datasets as tfds

ADDRESS = {"url": "", "fail": False}


def rows(split):
    for i in range(40 if split == "train" else 10):
        yield {"text": f"a {'good' if i % 2 else 'bad'} film", "label": i % 2, "n": i}


class FilmsForTests(tfds.core.GeneratorBasedBuilder):
    """Downloads an archive, as most sets do."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name="plain", version=tfds.core.Version("1.0.0")),
        tfds.core.BuilderConfig(name="other", version=tfds.core.Version("1.0.0")),
    ]

    def _info(self):
        features = {
            "text": tfds.features.Text(),
            "label": tfds.features.ClassLabel(names=["bad", "good"]),
            "about": {"n": np.int32, "words": tfds.features.Sequence(tfds.features.Text())},
            "turns": tfds.features.Sequence({"by": tfds.features.Text(), "length": np.int32}),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        path = dl_manager.download_and_extract(ADDRESS["url"])
        return {
            split: self._generate_examples(path / "films" / f"{split}.jsonl")
            for split in ("train", "test")
        }

    def _generate_examples(self, path):
        for i, line in enumerate(path.read_text().splitlines()):
            row = json.loads(line)
            if ADDRESS["fail"] and i == 5:
                raise RuntimeError("no\nmore")
            words = row["text"].split()
            turns = [{"by": word, "length": len(word)} for word in words]
            yield (
                i,
                {
                    "text": row["text"],
                    "label": row["label"],
                    "about": {"n": row["n"], "words": words},
                    "turns": turns,
                },
            )


class AskedForTests(FilmsForTests):
    """Has files that a person must fetch."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = "Register,\nthen wait."


class BeamForTests(FilmsForTests):
    """Needs what is not there."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    with zipfile.ZipFile(folder / "films.zip", "w") as archive:
        for split in ("train", "test"):
            text = "\n".join(json.dumps(row) for row in rows(split))
            archive.writestr(f"films/{split}.jsonl", text)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    handler.log_message = lambda *_: None  # pyright: ignore
    with contextlib.redirect_stderr(io.StringIO()):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/films.zip"
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def films(server):
    ADDRESS.update(url=server, fail=False)
    yield ADDRESS
    ADDRESS.update(url="", fail=False)


def below(path):
    return {str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()}


def test_from_download_to_training_data(films, tmp_path, capfd):
    found = prepare_dataset("films_for_tests", tmp_path)
    assert found == ("films_for_tests/plain", found.directory, {"test": 10, "train": 40}, False)
    assert found.directory == tmp_path / "films_for_tests/plain/1.0.0"
    assert any("array_record" in name for name in below(found.directory))
    again = prepare_dataset("films_for_tests/plain:1.0.0", tmp_path)
    assert again == found._replace(already=True)
    assert capfd.readouterr().out == ""

    source = load_source("films_for_tests", tmp_path)
    assert {name: feature.kind for name, feature in source.features.items()} == {
        "text": "text",
        "label": "label",
        "about.n": "number",
        "about.words": "tokens",
        "turns.by": "tokens",
        "turns.length": "numbers",
    }
    train = sorted(
        [*source.splits["train"], *source.splits["validation"]], key=lambda row: row["about.n"]
    )
    assert train[3] == {
        "text": "a good film",
        "label": 1,
        "about.n": 3,
        "about.words": ["a", "good", "film"],
        "turns.by": ["a", "good", "film"],
        "turns.length": [1, 4, 4],
    }
    assert len(train) == 40 and len(source.splits["test"]) == 10
    task = Task("t", "films_for_tests/plain", "classification", "about.words", "label")
    data = load_data([task], DataOptions(row_length=8, batch_tokens=64), data_dir=tmp_path)
    assert data.outputs["t"].classes == ("bad", "good")
    assert next(data.training_batches(0, ahead=0))["plain"]["tokens"].shape == (8, 8)


def test_what_fails_leaves_nothing_half_written(films, tmp_path):
    films["fail"] = True
    with pytest.raises(UserError, match="'films_for_tests/other': no more") as error:
        prepare_dataset("films_for_tests/other", tmp_path)
    assert "\n" not in str(error.value)
    assert all(name.startswith("downloads/") for name in below(tmp_path))
    assert not (tmp_path / "films_for_tests").exists()
    films["fail"] = False
    assert not prepare_dataset("films_for_tests/other", tmp_path).already


def test_an_interrupted_one_leaves_nothing(films, tmp_path, monkeypatch):
    def interrupted(self, path):
        yield from ()
        raise KeyboardInterrupt

    monkeypatch.setattr(FilmsForTests, "_generate_examples", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare_dataset("films_for_tests", tmp_path)
    assert not (tmp_path / "films_for_tests").exists()


def test_another_config_stays(films, tmp_path):
    kept = prepare_dataset("films_for_tests/plain", tmp_path).directory
    before = below(kept.parent.parent)
    films["fail"] = True
    with pytest.raises(UserError):
        prepare_dataset("films_for_tests/other", tmp_path)
    assert below(kept.parent.parent) == before


@pytest.mark.parametrize("fails", ["refused", "missing"])
def test_a_download_that_fails(films, tmp_path, monkeypatch, fails):
    closed = "http://127.0.0.1:9/films.zip"
    films["url"] = closed if fails == "refused" else films["url"] + ".none"
    monkeypatch.setattr(prepare, "_RETRIES", 0)
    wanted = "127.0.0.1:9 cannot be reached" if fails == "refused" else "HTTP code: 404"
    with pytest.raises(UserError, match=wanted) as error:
        prepare_dataset("films_for_tests", tmp_path)
    assert "\n" not in str(error.value)
    assert below(tmp_path) == set()


def test_no_network_is_found_at_once(films, tmp_path, monkeypatch):
    urls = {"http://127.0.0.1:9/a": None, "ftp://127.0.0.1/b": None}
    monkeypatch.setattr(FilmsForTests, "url_infos", urls)
    with pytest.raises(UserError, match="127.0.0.1:9 cannot be reached; prepare it where"):
        prepare_dataset("films_for_tests", tmp_path)
    monkeypatch.setattr(FilmsForTests, "url_infos", {**urls, films["url"]: None})
    assert prepare_dataset("films_for_tests", tmp_path).splits["train"] == 40


def test_sets_that_need_more_are_refused(films, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"fetch yourself, into .*manual: Register, then wait\.$"):
        prepare_dataset("asked_for_tests", tmp_path)
    (tmp_path / "downloads/manual").mkdir(parents=True)
    assert prepare_dataset("asked_for_tests", tmp_path).splits["test"] == 10
    needed = []
    monkeypatch.setattr(prepare, "missing_packages", lambda builder: needed)
    needed[:] = ["apache_beam", "nltk", "tensorflow"]
    with pytest.raises(UserError) as error:
        prepare_dataset("beam_for_tests/other", tmp_path)
    assert str(error.value) == (
        "data set 'beam_for_tests/other' needs Apache Beam and TensorFlow to be prepared: where "
        "that is installed, run 'tfds build beam_for_tests/other --file_format array_record "
        "--data_dir DIR', and copy DIR/beam_for_tests here"
    )
    needed[:] = ["conllu", "nltk"]
    with pytest.raises(UserError, match="needs what is not installed: pip install conllu nltk"):
        prepare_dataset("beam_for_tests", tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("movie_lm", "comes with the package"),
        ("films_for_test", "the TFDS catalogue has no 'films_for_test'; did you mean 'films_for_"),
        ("films_for_tests/plan", "unknown config 'plan'; did you mean 'plain'"),
        ("films_for_tests:9.0.0", "films_for_tests:9.0.0': "),
    ],
)
def test_names_that_are_none(tmp_path, name, message):
    with pytest.raises(UserError) as error:
        prepare_dataset(name, tmp_path)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_set_in_another_format(films, tmp_path):
    found = prepare_dataset("films_for_tests", tmp_path)
    info = json.loads((found.directory / "dataset_info.json").read_text())
    info["fileFormat"] = "tfrecord"
    (found.directory / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(UserError, match="is there in format tfrecord, which only TensorFlow reads"):
        prepare_dataset("films_for_tests", tmp_path)


def test_a_data_directory_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="data directory"):
        prepare_dataset("glue", tmp_path / "file")
