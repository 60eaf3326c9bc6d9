import bz2
import gzip
import lzma
import os
import sys
import tarfile
import threading
import zipfile

import pytest

from mtljax.data.files.readers import Lines, open_file

TEXT = "eins\r\nzwei é 😀\n\ndrei"
PACKED = [("plain", bytes), ("gzip", gzip.compress), ("xz", lzma.compress), ("bz2", bz2.compress)]


@pytest.mark.parametrize("ending", ["txt", "txt.gz"])
@pytest.mark.parametrize(("packed", "pack"), PACKED)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_files_say_what_they_are(tmp_path, ending, packed, pack, encoding):
    path = tmp_path / f"{packed}.{ending}"
    path.write_bytes(pack((TEXT * 5000).encode(encoding)))
    with open_file(path) as file:
        assert "".join(Lines(file)) == TEXT * 5000
    # As from a mark in its middle, and back.
    with open_file(path) as file:
        start = len((TEXT * 4000).encode()) + (3 if encoding == "utf-8-sig" else 0)
        assert "".join(Lines(file, start)) == TEXT * 1000
        file.seek(0)
        assert "".join(Lines(file)) == TEXT * 5000


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_both_orders_of_bytes(tmp_path, encoding):
    (tmp_path / "a").write_bytes(f"\ufeff{TEXT}".encode(encoding))
    with open_file(tmp_path / "a") as file:
        assert file.read().decode() == TEXT


def test_zstd(tmp_path):
    zstd = pytest.importorskip("backports.zstd")
    content = zstd.compress(TEXT.encode() * 9000)
    (tmp_path / "a").write_bytes(content)
    with open_file(tmp_path / "a") as file:
        assert file.read().decode() == TEXT * 9000
    for damaged in (content[:-20], content[:20] + b"x" * 40 + content[60:]):
        (tmp_path / "a").write_bytes(damaged)
        with pytest.raises((OSError, EOFError)), open_file(tmp_path / "a") as file:
            file.read()


def test_zstd_without_its_package(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"\x28\xb5\x2f\xfd" + b"x" * 20)
    monkeypatch.setitem(sys.modules, "backports", None)
    monkeypatch.setitem(sys.modules, "compression", None)
    with pytest.raises(ValueError, match=r'pip install "mtljax\[zstd\]"'):
        open_file(tmp_path / "a")


def test_what_is_no_text(tmp_path):
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("a.csv", "a,b\n")
    (tmp_path / "a.csv").write_text("a,b\n")
    with tarfile.open(tmp_path / "tar", "w:gz") as archive:
        archive.add(tmp_path / "a.csv", "a.csv")
    (tmp_path / "parquet").write_bytes(b"PAR1\x15\x04")
    (tmp_path / "utf16le").write_bytes("text,label\n".encode("utf-16-le"))
    (tmp_path / "utf16be").write_bytes("text,label\n".encode("utf-16-be"))
    for name, message in {
        "zip": "a zip archive",
        "tar": "a tar archive",
        "parquet": "a Parquet file",
        "utf16le": "UTF-16 without a byte order mark",
        "utf16be": "UTF-16 without a byte order mark",
    }.items():
        with pytest.raises(ValueError, match=message):
            open_file(tmp_path / name)


def test_damage_is_an_error_or_a_damaged_line(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(gzip.compress(TEXT.encode() * 999)[:-9])
    with pytest.raises(EOFError), open_file(path) as file:
        file.read()
    path.write_bytes(TEXT.encode("utf-16")[:-1])
    with pytest.raises(OSError, match="not UTF-16 text"), open_file(path) as file:
        file.read()
    path.write_bytes("a\n\ud800b\nc\n".encode("utf-16", "surrogatepass"))
    with open_file(path) as file:
        lines = Lines(file)
        assert [next(lines), next(lines)][0] == "a\n" and lines.damaged == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    content = gzip.compress(TEXT.encode("utf-16"))
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[content])
    writer.start()
    with open_file(tmp_path / "pipe") as file:
        assert file.read().decode() == TEXT
    writer.join()
