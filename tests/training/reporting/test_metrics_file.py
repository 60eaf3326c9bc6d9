import json

import numpy as np
import pytest

from mtljax.training.reporting.metrics_file import MetricsFile, read_metrics


def write(directory, last_step, lines):
    file = MetricsFile(directory, last_step)
    for step, split, values in lines:
        file.write(step, split, values)
    file.close()


LINES = [(5, "train", {"loss/a": 0.1 + 0.2}), (10, "train", {"loss/a": 1e-9}),
         (10, "validation", {"a/accuracy": 2 / 3})]  # fmt: skip


def test_round_trip(tmp_path):
    write(tmp_path, -1, LINES)
    expected = [{"step": s, "split": split, **values} for s, split, values in LINES]
    assert read_metrics(tmp_path) == expected
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 3


def test_lines_are_there_before_the_file_is_closed(tmp_path):
    file = MetricsFile(tmp_path, -1)
    file.write(1, "train", {})
    assert read_metrics(tmp_path) == [{"step": 1, "split": "train"}]
    file.close()


@pytest.mark.parametrize("last_step, kept", [(-1, 0), (0, 0), (5, 1), (7, 1), (10, 3), (99, 3)])
def test_what_a_lost_part_had_written_is_dropped(tmp_path, last_step, kept):
    write(tmp_path, -1, LINES)
    before = (tmp_path / "metrics.jsonl").read_text().splitlines(keepends=True)
    write(tmp_path, last_step, [])
    assert (tmp_path / "metrics.jsonl").read_text() == "".join(before[:kept])


@pytest.mark.parametrize("torn", [b'{"step": 10, "spl', b'{"step": 10, "x": "\xc3', b"{", b"\x00"])
def test_a_torn_last_line(tmp_path, torn):
    write(tmp_path, -1, LINES)
    path = tmp_path / "metrics.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    assert len(read_metrics(tmp_path)) == 3
    write(tmp_path, 10, [])
    assert path.read_bytes() == whole


def test_a_last_line_without_its_end(tmp_path):
    write(tmp_path, -1, LINES)
    path = tmp_path / "metrics.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    write(tmp_path, 10, [])
    assert path.read_bytes() == whole


NUMBER = b"0.30000000000000004"
EDITS = [
    (NUMBER, b"0.30000000000000005"),
    (NUMBER, b"null"),
    (b"0.3", b"\xff"),
    (b'5, "sp', b'4, "sp'),
    (b'"step": 5, ', b""),
    (b"loss/a", b"lose/a"),
    (b"train", b"trxin"),
    (b"{", b"["),
]


@pytest.mark.parametrize("edit", EDITS)
def test_a_damaged_line_is_lost_and_no_other(tmp_path, edit):
    write(tmp_path, -1, LINES)
    path = tmp_path / "metrics.jsonl"
    first, *rest = path.read_bytes().splitlines(keepends=True)
    assert edit[0] in first
    path.write_bytes(b"".join([first.replace(*edit, 1), *rest]))
    assert [line["step"] for line in read_metrics(tmp_path)] == [10, 10]
    said = []
    MetricsFile(tmp_path, 10, warn=said.append).close()
    assert said == [f"{path}: damaged or missing lines are left out: 1"]
    assert path.read_bytes() == b"".join(rest)
    MetricsFile(tmp_path, 10, warn=pytest.fail).close()


@pytest.mark.parametrize(("kept", "told"), [(0, 2), (1, 1), (2, 0), (None, 2)])
def test_lines_that_are_missing(tmp_path, kept, told):
    """But for the last, of which only the check may have been written."""
    write(tmp_path, -1, LINES)
    path = tmp_path / "metrics.jsonl"
    if kept is None:
        path.unlink()
    else:
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:kept]))
    said = []
    MetricsFile(tmp_path, 10, warn=said.append).close()
    line = f"{path}: damaged or missing lines are left out: {told}"
    assert said == ([line] if told else [])


def test_a_line_of_an_older_version(tmp_path):
    """Which kept no checks: what is no line of metrics is lost all the same."""
    write(tmp_path, -1, LINES)
    (tmp_path / ".metrics.crc").unlink()
    path = tmp_path / "metrics.jsonl"
    whole = path.read_bytes()
    wrong = [b"3", b"[]", b"{}", b'{"step": "5", "split": "train"}', b'{"step": 5, "split": "x"}',
             b'{"step": 5, "split": "train", "loss/a": []}', b"[" * 100_000, b"null"]  # fmt: skip
    path.write_bytes(b"\n".join(wrong) + b"\n" + whole)
    assert len(read_metrics(tmp_path)) == 3
    said = []
    MetricsFile(tmp_path, 10, warn=said.append).close()
    assert said == [f"{path}: damaged or missing lines are left out: {len(wrong)}"]
    assert path.read_bytes() == whole


def test_values_that_json_does_not_have(tmp_path):
    values = {"a": float("nan"), "b": float("inf"), "c": np.float64("-inf"), "d": None, "e": 1}
    write(tmp_path, -1, [(1, "train", values)])
    text = (tmp_path / "metrics.jsonl").read_text()
    strict = json.loads(text, parse_constant=pytest.fail)
    assert strict == {"step": 1, "split": "train", "a": None, "b": None, "c": None, "d": None,
                      "e": 1}  # fmt: skip


def test_unusual_characters_stay_on_their_line(tmp_path):
    write(tmp_path, -1, [(1, "train", {"loss/a\u2028b\x85": 1.0}), (2, "train", {})])
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2]


def test_no_file_no_lines(tmp_path):
    assert read_metrics(tmp_path) == []
