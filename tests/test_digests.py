import hashlib
import json

import numpy as np
import pytest

from mtljax.digests import (
    check_files,
    content_digest,
    dump_digests,
    file_digest,
    read_digests,
    written_digest,
)
from mtljax.training.persistence.checkpoint_digests import (
    check_checkpoint,
    digest_checkpoint,
    digest_shards,
)

SIZES = [0, 1, 4095, 4096, 65535, 65536, 70001, 2**20 - 1, 2**20, 2**20 + 1, 2**23 + 12345]


@pytest.mark.parametrize("size", SIZES)
def test_it_is_what_the_docstring_says(tmp_path, size):
    content = np.random.default_rng(size).bytes(size)
    # Written out word by word, with Python's own integers.
    hashed = hashlib.blake2b(digest_size=16)
    for start in range(0, size, 2**23):
        part = content[start : start + 2**23]
        summed = len(part) // 8168 * 8168 if len(part) >= 2**16 else 0
        words = [int.from_bytes(part[i : i + 8], "little") for i in range(0, summed, 8)]
        for column in range(1021 if words else 0):
            hashed.update((sum(words[column::1021]) % 2**64).to_bytes(8, "little"))
        hashed.update(part[summed:])
    expected = f"{size}:{hashed.hexdigest()}"
    (tmp_path / "file").write_bytes(content)
    assert content_digest(content) == expected
    assert file_digest(tmp_path / "file") == written_digest(tmp_path / "file") == expected


def test_parts_that_threads_sum_keep_their_order(tmp_path):
    """Five parts: the digest of a file that is read part by part is that of the whole."""
    content = np.random.default_rng(5).bytes(4 * 2**23 + 70001)
    (tmp_path / "file").write_bytes(content)
    assert content_digest(content) == file_digest(tmp_path / "file")
    moved = content[2**23 : 2**24] + content[: 2**23] + content[2**24 :]
    assert content_digest(moved) != content_digest(content)


@pytest.mark.parametrize("size", [40, 5000, 2**21])
def test_any_bit_counts(size):
    rng = np.random.default_rng(size)
    content = bytearray(rng.bytes(size))
    before = content_digest(bytes(content))
    for position in {0, size - 1, *rng.integers(0, size, 40).tolist()}:
        for bit in rng.integers(0, 8, 3).tolist():
            content[position] ^= 1 << bit
            assert content_digest(bytes(content)) != before
            content[position] ^= 1 << bit
    assert content_digest(bytes(content)) == before
    # Pages that have changed places, as a disk may write them, and zeros in place of one.
    for start in range(0, size - 8191, 8192):
        one, other = content[start : start + 4096], content[start + 4096 : start + 8192]
        changed = bytes(content[:start] + other + one + content[start + 8192 :])
        assert content_digest(changed) != before
        changed = bytes(content[:start] + bytes(4096) + content[start + 4096 :])
        assert content_digest(changed) != before


def test_changes_that_keep_sums():
    """Words that change places, and the same bit of two words in opposite directions."""
    rng = np.random.default_rng(0)
    words = rng.integers(2**63, size=2**17, dtype=np.uint64)
    before = content_digest(words.tobytes())
    for first, second in ((0, 1), (7, 519), (100, 90000), (513, 515), (0, 512)):
        changed = words.copy()
        changed[[first, second]] = words[[second, first]]
        assert content_digest(changed.tobytes()) != before
        for bit in (0, 40, 63):
            changed = words.copy()
            changed[[first, second]] ^= np.uint64(1 << bit)
            assert content_digest(changed.tobytes()) != before
    page = words[512:1024].copy()
    words[512:1024] = np.roll(page, 3)
    assert content_digest(words.tobytes()) != before


def test_what_has_changed_is_named(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(f"content of {name}")
    digests = {name: [file_digest(tmp_path / name)] for name in ("a", "b", "c")}
    (tmp_path / "digests.json").write_text(dump_digests(digests))
    assert read_digests(tmp_path) == digests
    check_files(tmp_path, digests, digests)
    (tmp_path / "a").write_text("content of b")
    (tmp_path / "b").write_text("content")
    (tmp_path / "c").unlink()
    for name, message in [
        ("a", "a is not as it was written"),
        ("b", "b has 7 bytes, 12 were written"),
        ("c", "c is missing"),
    ]:
        with pytest.raises(ValueError, match=f"^{message}$"):
            check_files(tmp_path, digests, [name])
    # One of several, while it is replaced.
    check_files(
        tmp_path, {"a": [*digests["a"], *digests["b"], content_digest(b"content of b")]}, "a"
    )


@pytest.mark.parametrize("damage", [
    lambda text: text[:-1], lambda text: b"", lambda text: b"[]", lambda text: b'{"files": {}}',
    lambda text: text.replace(b"12:", b"13:"), lambda text: text.replace(b'"a"', b'"b"'),
    lambda text: b"[" * 100_000, lambda text: b"\xff\xfe\x00",
])  # fmt: skip
def test_digests_that_are_damaged_themselves(tmp_path, damage):
    (tmp_path / "a").write_text("content of a")
    (tmp_path / "digests.json").write_text(dump_digests({"a": [file_digest(tmp_path / "a")]}))
    path = tmp_path / "digests.json"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="the digests are damaged"):
        read_digests(tmp_path)
    path.unlink()
    assert read_digests(tmp_path) is None


def test_several_processes_digest_what_they_wrote(tmp_path):
    files = [
        "_CHECKPOINT_METADATA",
        "commit_success.txt",
        "metrics/metrics",
        "state/manifest.ocdbt",
    ]
    files += [f"state/ocdbt.process_{i}/d/{j}" for i in range(3) for j in range(2)]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    # Orbax gives the state its name when all processes have written, and digested, their arrays.
    unfinished = (tmp_path / "state").rename(tmp_path / "state.orbax-checkpoint-tmp")
    for process in (1, 2):
        digest_shards(tmp_path, process)
    handed = json.loads((tmp_path / ".digests.1").read_text())
    assert set(handed) == {f"state/ocdbt.process_1/d/{j}" for j in range(2)}
    unfinished.rename(tmp_path / "state")
    digest_checkpoint(tmp_path, 3)
    content = json.loads((tmp_path / "digests.json").read_text())
    # Orbax writes the first two after all others.
    assert set(content["files"]) == set(files[2:])
    assert {p.name for p in tmp_path.iterdir()} == {
        *(f.split("/")[0] for f in files),
        "digests.json",
    }
    assert check_checkpoint(tmp_path)
    # Each process reads its part; in one of them what is wrong is found.
    (tmp_path / files[-1]).write_text("other")
    wrong = []
    for part in range(4):
        try:
            assert check_checkpoint(tmp_path, part, 4)
        except ValueError as error:
            wrong.append(str(error))
    assert wrong == [f"{files[-1]} has 5 bytes, {len(files[-1])} were written"]
