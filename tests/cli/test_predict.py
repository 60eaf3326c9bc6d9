import io
import json
from types import SimpleNamespace

import pytest

from mtljax.cli.predict import _in_words as in_words

pytestmark = pytest.mark.usefixtures("loaded_once")

TASKS = ["sentiment", "casing", "writer", "stars"]


def test_texts_as_arguments(mtljax, tiny_run):
    code, out, err = mtljax("predict", tiny_run, "good phone", "Oh, no!")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == TASKS
    assert (lines[0], lines[5], len(lines)) == ("good phone", "Oh, no!", 10)
    assert " %)" in lines[1]


def test_json(mtljax, tiny_run):
    code, out, err = mtljax("predict", tiny_run, "Oh, no!", "--json")
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert list(answer) == TASKS
    assert answer["casing"]["words"] == ["oh", "no"]


def test_rows_are_kept_and_unsure_answers_held_back(mtljax, tiny_run, tmp_path):
    for name, content, rows in (
        ("in.jsonl", '{"id": 7, "text": "good"}\nbad\n', [{"id": 7, "text": "good"}, "bad"]),
        ("in.csv", "id,text\nx,good\ny,bad\n", [{"id": k, "text": t} for k, t in
                                                 (("x", "good"), ("y", "bad"))]),
    ):  # fmt: skip
        (tmp_path / name).write_text(content)
        options = ["--input", tmp_path / name, "--task", "sentiment", "--json", "--keep-rows"]
        code, out, err = mtljax("predict", tiny_run, *options, "--reject-below", "1")
        assert (code, err) == (0, "")
        found = [json.loads(line) for line in out.splitlines()]
        assert [one["row"] for one in found] == rows
        assert [one["line"] for one in found] == ([2, 3] if name == "in.csv" else [1, 2])
        for one in found:
            answer = one["answers"]["sentiment"]
            assert answer["label"] is None and sum(answer["probabilities"].values()) > 0.999
    _, out, _ = mtljax("predict", tiny_run, "a", "--task", "sentiment", "--reject-below", "1")
    assert "  (rejected)  (" in out.replace("sentiment", "")


def test_some_tasks(mtljax, tiny_run):
    _, out, _ = mtljax("predict", "--task", "stars", "--task", "casing", tiny_run, "a", "--json")
    assert list(json.loads(out)) == ["casing", "stars"]


def test_files(mtljax, tiny_run, tmp_path):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(b'"one"\n{"tokens": ["two", "words"]}\n\xff\xfe\x00\n\n"\\ud800"\n')
    options = ["--task", "casing", "--json", "--output", target]
    assert mtljax("predict", tiny_run, "--input", source, *options) == (0, "", "")
    words = [json.loads(line)["casing"]["words"] for line in target.read_text().splitlines()]
    assert words == [["one"], ["two", "words"], [], [], []]
    assert sorted(tmp_path.iterdir()) == [source, target]


def test_tables(mtljax, refused, tiny_run, tmp_path):
    words = [["good", "phone"], ["oh", "no"]]
    for name, content in {
        "a.csv": b'id,text\n1,good phone\n\n2,"oh, no"\n',
        "a.tsv": "text\tid\rgood phone\t1\roh, no\t2\r".encode("utf-16"),
        "a.json": b'[{"text": "good phone"},\n {"text": "oh, no"}]',
        "a.txt": b'good phone\n[oh], "no"\n',
    }.items():
        path = tmp_path / name
        path.write_bytes(content)
        options = ["--input", path, "--task", "casing", "--json"]
        code, out, err = mtljax("predict", tiny_run, *options)
        assert (code, err) == (0, "")
        assert [json.loads(line)["casing"]["words"] for line in out.splitlines()] == words
    path.with_name("a.csv").write_text("txt,id\na,1\n")
    message = refused("predict", tiny_run, "--input", tmp_path / "a.csv")
    assert message == f"--input {tmp_path / 'a.csv'}: no column 'text'; did you mean 'txt'?"
    (tmp_path / "a.conll").write_text("good O\n")
    assert "CoNLL columns" in refused("predict", tiny_run, "--input", tmp_path / "a.conll")
    (tmp_path / "a.json").write_text('[{"text": "a"}')
    message = refused("predict", tiny_run, "--input", tmp_path / "a.json")
    assert message == f"{tmp_path / 'a.json'}:1: the JSON array has no end"


@pytest.mark.parametrize("arguments", [[], ["--input", "-"]])
def test_stdin(mtljax, tiny_run, monkeypatch, arguments):
    stdin = SimpleNamespace(buffer=io.BytesIO(b"good\nbad\n"), isatty=lambda: False)
    monkeypatch.setattr("sys.stdin", stdin)
    code, out, err = mtljax("predict", tiny_run, *arguments, "--json", "--task", "stars")
    assert (code, err, len(out.splitlines())) == (0, "", 2)


def test_odd_texts(mtljax, tiny_run):
    odd = ["", "a\0\x1b[31mb", "caf\udce9", "x" * 100_000, "[bold]not markup[/bold]"]
    code, out, err = mtljax("predict", tiny_run, *odd)
    assert (code, err, len(out.splitlines())) == (0, "", 5 * len(odd))
    assert "\x1b" not in out
    assert "[bold]not markup[/bold]" in out
    assert mtljax("predict", tiny_run, "--json", "--", "--dashed")[0] == 0


def test_bad_input(refused, tiny_run, tmp_path, monkeypatch):
    assert "--keep-rows: needs --json" in refused("predict", tiny_run, "a", "--keep-rows")
    assert "reject_below: must be in [0, 1], got 2.0" in refused(
        "predict", tiny_run, "a", "--reject-below", "2"
    )
    path = tmp_path / "in.jsonl"
    path.write_text('"fine"\n{"txt": 3}\n')
    target = tmp_path / "out"
    message = refused("predict", tiny_run, "--input", path, "--output", target)
    assert message.startswith(f"{path}:2: expected a string")
    path.write_text('"fine"\n{"txt": "a"}\n')
    message = refused("predict", tiny_run, "--input", path, "--output", target)
    lacks = "text {'txt': 'a'} has no 'text'; expected {\"text\": ...}"
    assert message == f"{path}:2: task 'sentiment': {lacks}"
    assert refused("predict", tiny_run, '{"txt": "a"}') == f"task 'sentiment': {lacks}"
    assert sorted(tmp_path.iterdir()) == [path]
    assert "not both" in refused("predict", tiny_run, "a", "--input", path)
    assert "did you mean 'stars'?" in refused("predict", tiny_run, "a", "--task", "starz")
    assert "no such directory" in refused("predict", tmp_path / "nowhere", "a")
    assert "no run there" in refused("predict", tmp_path, "a")
    assert "Not a directory" in refused("predict", tiny_run, "a", "--output", path / "x")
    assert "Is a directory" in refused("predict", tiny_run, "a", "--output", tmp_path)
    assert "name too long" in refused("predict", tiny_run, "a", "--output", "x" * 300)
    assert "name too long" in refused("predict", "x" * 300, "a")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    assert refused("predict", tiny_run).startswith("no text: ")


def test_a_reader_that_leaves(process, tiny_run, tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text('"good phone"\n' * 20_000)
    options = ["--task", "stars"]
    running = process("predict", tiny_run, "--input", path, *options)
    assert running.stdout.readline() == "good phone\n"
    running.stdout.close()
    assert running.wait(timeout=120) == 1
    assert running.stderr.read() == ""
    running.stderr.close()


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (3.25678, "3.257"),
        (136712.4, "136712"),
        (-1e6, "-1000000"),
        (1e-7, "1e-07"),
        (2e20, "2e+20"),
    ],
)
def test_numbers_in_words(number, text):
    assert in_words({"value": number}) == text
