import importlib
import importlib.util
import sys

import numpy as np
import pytest

from mtljax.data.tfds.tensorflow_stub import STUB, stub_has, tensorflow_stubbed

without_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is installed"
)


@pytest.mark.parametrize("name", ["io.gfile.GFile", "io.gfile.listdir", "int32", "bool", "string"])
def test_what_it_has(name):
    assert stub_has(name)


@pytest.mark.parametrize("name", ["nest.map_structure", "train.Example", "io.gfile.walk", "x", ""])
def test_what_it_lacks(name):
    assert not stub_has(name)


def test_files(tmp_path):
    gfile = STUB.io.gfile
    path = tmp_path / "a.txt"
    with gfile.GFile(path, "w") as file:
        file.write("é")
    with gfile.GFile(str(path), "rb") as file:
        assert file.read() == "é".encode()
    gfile.copy(path, tmp_path / "b.txt")
    assert gfile.exists(tmp_path / "b.txt") and gfile.isdir(tmp_path)
    assert sorted(gfile.listdir(tmp_path)) == ["a.txt", "b.txt"]
    assert len(gfile.glob(str(tmp_path / "*.txt"))) == 2
    with pytest.raises(STUB.errors.UnimplementedError):
        gfile.copy("ftp://host/a", tmp_path / "c.txt")
    with pytest.raises(STUB.errors.NotFoundError):
        gfile.GFile(tmp_path / "none")
    assert STUB.compat.as_text(b"\xc3\xa9") == STUB.compat.as_text("é") == "é"
    assert np.dtype(STUB.int32) == np.int32


@without_tensorflow
def test_only_inside_and_only_in_tfds():
    extractor = importlib.import_module("tensorflow_datasets.core.download.extractor")
    before = extractor.tf
    with pytest.raises(KeyError), tensorflow_stubbed():
        assert extractor.tf is STUB
        assert "tensorflow" not in sys.modules
        raise KeyError
    assert extractor.tf is before is not STUB
