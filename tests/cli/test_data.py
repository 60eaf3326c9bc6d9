"""``mtljax data``: a file, a set inside the package, a tasks file."""

import json

import pytest
import yaml

from mtljax.tasks import parse_tasks

ROWS = [
    *("1,A good  film,good,2.5,7", "2,a good film,good,2.5,8", "3,dull,bad,1.0,9", "4,,bad,1.0,10"),
    *("5,so very long that it is cut,bad,1.0,11", "6,short,good,,12"),
]


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "films.csv").write_text("\n".join(["id,text,mood,stars,page", *ROWS]) + "\n")
    (tmp_path / "test.csv").write_text("\n".join(["id,text,mood,stars,page", ROWS[2]]) + "\n")
    return tmp_path / "films.csv"


def test_a_file_is_described(mtljax, table):
    code, out, _ = mtljax("data", "films.csv", "--row-length", 5)
    assert code == 0
    lines = [line.strip() for line in out.splitlines()]
    assert lines[0] == "films.csv: 6 of train"
    assert "missing in 1 rows" in lines and "1 rows of train repeat an earlier one" in out
    assert "20.0 % have more words than --batch.row-length 5" in lines
    found = json.loads(mtljax("data", "films.csv", "--row-length", 5, "--json").out)
    text, mood, stars = (found["features"][name] for name in ("text", "mood", "stars"))
    assert (text["kind"], text["missing"], text["repeated"], text["recurs"]) == (
        "text",
        1,
        1,
        False,
    )
    assert text["words"] == [3, 3, 7] and found["longer"]["text"] == pytest.approx(1 / 5)
    assert mood["recurs"] and sorted(mood["common"]) == [["bad", 3], ["good", 3]]
    assert (stars["kind"], stars["missing"], stars["distinct"]) == ("number", 1, 2)


def test_the_tasks_that_it_suggests_can_be_read(mtljax, table):
    out = mtljax("data", "films.csv").out
    draft = out[out.index("sources:") :]
    tasks = parse_tasks(draft, table.parent)
    kinds = {task.name: (task.kind, task.inputs) for task in tasks}
    assert kinds == {"mood": ("classification", "text"), "stars": ("regression", "text")}
    assert yaml.safe_load(draft)["sources"] == {"films": {"path": "films.csv"}}


def test_lists_are_tags_of_words_or_labels_of_texts(mtljax, tmp_path, monkeypatch):
    """And whole numbers may be names; the name of the file need not be one of a source."""
    monkeypatch.chdir(tmp_path)
    rows = [
        {
            "words": [f"w{i}", f"v{i}"],
            "tags": ["O", "B"],
            "topics": "a b"[: 1 + 2 * (i % 2)].split(),
        }
        for i in range(8)
    ]
    lines = [json.dumps({**row, "stars": i % 3}) for i, row in enumerate(rows)]
    (tmp_path / "Ünï.jsonl").write_text("\n".join(lines) + "\n")
    out = mtljax("data", "Ünï.jsonl").out
    assert "few whole numbers" in out and "path: Ünï.jsonl" in out
    tasks = {task.name: task for task in parse_tasks(out[out.index("sources:") :], tmp_path)}
    kinds = {name: task.kind for name, task in tasks.items()}
    assert kinds == {"tags": "tagging", "topics": "multilabel", "stars": "regression"}
    assert {task.inputs for task in tasks.values()} == {"words"}


def test_rows_are_as_long_as_they_would_be(mtljax, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [f"{' '.join(['word'] * 150)} {i},{'good' if i % 2 else 'bad'}" for i in range(20)]
    (tmp_path / "long.csv").write_text("\n".join(["text,mood", *rows]) + "\n")
    out = mtljax("data", "long.csv").out
    (tmp_path / "long.yaml").write_text(out[out.index("sources:") :])
    assert "row" not in out[: out.index("a tasks file")].replace("rows", "")
    assert "are cut" not in mtljax("data", "long.yaml").out
    assert "are cut" in mtljax("data", "long.yaml", "--row-length", 64).out


def test_a_set_inside_the_package_with_tags(mtljax):
    out = mtljax("data", "us_address").out
    assert "us_address: 1,242 of train" in out and "30 different values" in out
    assert "tags: {kind: tagging, dataset: us_address, inputs: tokens, targets: tags}" in out


def test_a_tasks_file(mtljax, table):
    splits = "{train: films.csv, test: test.csv}"
    tasks = "tasks:\n  mood: {dataset: f, kind: classification, inputs: text, targets: mood}\n"
    (table.parent / "t.yaml").write_text(f"sources:\n  f: {{splits: {splits}}}\n{tasks}")
    out = mtljax("data", "t.yaml", "--row-length", 5).out
    assert "mood (classification): 6 of train, 1 of test" in out
    assert "  2 classes, balance 1.00" in out and "  1 texts of test are in train too" in out
    assert "next: mtljax train --tasks t.yaml" in out
    card = json.loads(mtljax("data", "t.yaml", "--json").out)["tasks"]["mood"]
    assert (card["classes"], card["repeated"]) == (2, {"test": 1})


def test_what_is_next_with_rows_that_cannot_be_used(mtljax, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = [f"text {i},{'good' if i % 2 else 'bad'}" for i in range(40)]
    (tmp_path / "train.csv").write_text("\n".join(["text,mood", *texts]))
    (tmp_path / "test.csv").write_text("text,mood\nother,good\nanother,middling\n")
    (tmp_path / "t.yaml").write_text("""
sources: {f: {splits: {train: train.csv, validation: test.csv}}}
tasks: {mood: {dataset: f, kind: classification, inputs: text, targets: mood}}
""")
    *_, following = mtljax("data", "t.yaml").out.splitlines()
    assert following == "next: mtljax train --tasks t.yaml --data.bad-rows skip"
    options = "--preset linear --steps 2 --encoder.features 4 --encoder.embedding 4".split()
    arguments = following.removeprefix("next: mtljax ").split()
    assert mtljax(*arguments, *options).code == 0


def test_what_cannot_be_described(refused, tmp_path):
    assert "unknown data set 'nothing'" in refused("data", "nothing")
    (tmp_path / "a.xyz").write_text("x")
    assert "of no format that is known by its ending" in refused("data", tmp_path / "a.xyz")
    assert "--row-length: must be 2 or more" in refused("data", "us_address", "--row-length", 1)
