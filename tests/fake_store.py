"""A store of objects on this machine, in the place of one behind ``s3://``."""

import fsspec
import pytest
from etils.epath import backend


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The directory in which files of ``s3://`` lie; copies are made in another, of this test."""
    there = tmp_path / "there"
    files = fsspec.filesystem(
        "dir", path=str(there), target_protocol="file", target_options={"auto_mkdir": True}
    )
    monkeypatch.setattr(
        backend._FileSystemSpecBackend, "_get_filesystem", lambda self, scheme: files
    )
    monkeypatch.setenv("MTLJAX_CACHE_DIR", str(tmp_path / "cache"))
    (there / "s3:").mkdir(parents=True)
    return there / "s3:"
