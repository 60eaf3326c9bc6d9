import re
from pathlib import Path
from typing import Any

import pytest

from mtljax.errors import UserError
from mtljax.tasks import Column, Dataset, Task, dump_tasks, load_tasks, parse_tasks
from mtljax.tasks.dataset import ENDINGS, FIELDS, FORMATS, format_of

FILE = """
sources:
  reviews: {path: reviews.jsonl, splits: {train: "reviews.jsonl[:90%]", validation: "[90%:]"}}
  ner: {format: conll, splits: {train: [a.txt, b.txt], validation: dev.txt},
        features: {tokens: 0, tags: 3}}
  nli: {splits: {train: a.tsv + b.tsv}, features: {label: {kind: label, classes: [no, yes, 1, on]}}}
  quora: {dataset: glue/qqp, splits: {train: "train[:90%]", test: validation}}
tasks:
  stars: {dataset: reviews, kind: regression, inputs: text, targets: stars}
  names: {dataset: ner, kind: tagging, inputs: tokens, targets: tags}
  more: {dataset: [reviews, movie_lm, nli], kind: language_model, inputs: text}
  same: {dataset: quora, kind: classification, inputs: question1, targets: label}
"""


def test_reads_what_the_guide_shows():
    stars, names, more, same = parse_tasks(FILE)
    (reviews,) = stars.sources
    assert reviews == Dataset(
        "reviews",
        path="reviews.jsonl",
        splits=(("train", ("reviews.jsonl[:90%]",)), ("validation", ("[90%:]",))),
        format="jsonl",
    )
    assert names.sources[0].features == (Column("tokens", 0), Column("tags", 3))
    assert more.sources == (reviews, more.sources[1])
    assert more.sources[1].splits == (("train", ("a.tsv", "b.tsv")),)
    # Names of classes as they are written, although YAML reads them as truth values and numbers.
    assert more.sources[1].features == (
        Column("label", "label", "label", ("no", "yes", "1", "on")),
    )
    assert more.source_name == "reviews+movie_lm+nli"
    assert more.dataset == ("reviews", "movie_lm", "nli")
    assert (same.sources[0].format, same.source_name) == ("tfds", "quora")
    assert same == parse_tasks(FILE)[3]
    assert hash(same) == hash(parse_tasks(FILE)[3])


def test_what_is_written_reads_back_equal_and_says_each_source_once():
    tasks = parse_tasks(FILE)
    text = dump_tasks(tasks)
    assert parse_tasks(text) == tasks
    assert text.count("reviews.jsonl[:90%]") == 1
    options = Dataset(
        "all",
        {"train": ["a.csv"]},
        header=False,
        separator=";",
        quotes=False,
        features={"x": {"column": -1, "kind": "tags", "classes": "names.txt"}},  # pyright: ignore
    )
    comments = Dataset("c", {"train": "a.conll"}, comments="", features={"tokens": 0})  # pyright: ignore
    pages = Dataset("p", path="a.txt", paragraphs=True)
    for source in (options, comments, pages):
        task = Task("t", source.name, "language_model", "x", sources=(source,))
        assert parse_tasks(dump_tasks([task])) == (task,)


def test_one_description_a_source():
    one, two = (Dataset("a", path=path) for path in ("1.csv", "2.csv"))
    tasks = [Task(s.path[0], "a", "language_model", "x", sources=(s,)) for s in (one, two)]  # pyright: ignore
    with pytest.raises(ValueError, match="source 'a': described in two ways"):
        dump_tasks(tasks)


def test_paths_beside_the_tasks_file_become_absolute(tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("reviews.jsonl", "a.txt", "classes.txt", "data/x.csv"):
        (tmp_path / name).write_text("")
    (tmp_path / "tasks.yaml").write_text(
        """
sources:
  one: {path: reviews.jsonl}
  some: {splits: {train: a.txt, test: elsewhere.txt}}
  none: {splits: {train: elsewhere.txt}}
  dir: {path: data, splits: {train: x.csv},
        features: {label: {classes: classes.txt}, more: {kind: tags, classes: no.txt}}}
  set: {dataset: data, splits: {train: "train[:1]"}}
tasks:
  t: {dataset: [one, some, none, dir, set], kind: language_model, inputs: text}
""",
        encoding="utf-8",
    )
    one, some, none, folder, tfds = load_tasks(tmp_path / "tasks.yaml")[0].sources
    assert one.path == str(tmp_path / "reviews.jsonl")
    assert some.path == str(tmp_path)
    assert none.path is None
    assert folder.path == str(tmp_path / "data")
    assert folder.features[0].classes == str(tmp_path / "classes.txt")
    assert folder.features[1].classes == "no.txt"
    assert tfds.dataset == "data"


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ("a.jsonl", "jsonl"),
        ("a.JSON", "jsonl"),
        ("b/c.csv.gz", "csv"),
        ("a.tsv.xz", "tsv"),
        ("de-train.conllu", "conll"),
        ("a.txt", "text"),
        ("a.gz", None),
        ("csv", None),
    ],
)
def test_format_by_ending(file, found):
    assert format_of(file) == found
    assert found is None or found in FORMATS


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("3", "source 'a': expected fields"),
        ("{}", "source 'a', field 'splits': missing: name the files"),
        ("{path: a.csv, split: x}", "field 'split': unknown field; did you mean 'splits'?"),
        ("{path: a.doc}", "field 'format': missing: the ending of 'a.doc' does not tell"),
        ("{path: a.csv, format: xml}", "field 'format': unknown format 'xml'"),
        ("{path: a.csv, format: tfds}", "field 'dataset': missing"),
        ("{path: 3}", "field 'path': expected a text, got 3"),
        ("{path: ''}", "field 'path': expected a text"),
        ("{splits: {train: a.csv, test: b.jsonl}}", "field 'format': missing: the files end in"),
        ("{splits: {train: []}}", "field 'splits.train': names no file"),
        ("{splits: {train: ''}}", "field 'splits.train': names no file"),
        ("{splits: {train: '[:9]'}}", "field 'splits.train': '[:9]' names no file"),
        ("{splits: {train: 3}}", "field 'splits.train': expected a file"),
        ("{splits: {train: 'a.csv[:9'}}", "field 'splits.train': 'a.csv[:9' is not a slice"),
        ("{splits: {valid: a.csv}}", "field 'splits.valid': unknown split; did you mean"),
        ("{splits: {test: a.csv}}", "field 'splits': no train split"),
        ("{splits: a.csv}", "field 'splits': expected names of splits"),
        ("{dataset: snips, format: csv}", "field 'format': 'csv', but 'dataset' names"),
        ("{dataset: snips, path: x}", "field 'path': not for format tfds"),
        ("{path: a.csv, paragraphs: true}", "field 'paragraphs': not for format csv (text only)"),
        ("{path: a.csv, header: 1}", "field 'header': expected true or false"),
        ("{path: a.csv, separator: ab}", "field 'separator': expected one character"),
        ("{path: a.conll}", "field 'features': name the columns"),
        ("{path: a.csv, features: [a]}", "field 'features': expected names of features"),
        ("{path: a.csv, features: {1: a}}", "quote a number"),
        ("{path: a.csv, features: {x: 1.5}}", "field 'features.x': expected a column"),
        ("{path: a.csv, features: {x: {kinds: a}}}", "field 'features.x': unknown field 'kinds'"),
        ("{path: a.csv, features: {x: {kind: lable}}}", "field 'features.x': unknown kind 'lable'"),
        ("{path: a.csv, features: {x: {classes: [a, a]}}}", "a class appears twice"),
        ("{path: a.csv, features: {x: {classes: [[a]]}}}", "quote them"),
        ("{path: a.csv, features: {x: {classes: 3}}}", "neither a list nor"),
        ("{path: a.csv, features: {x: {kind: text, classes: [a]}}}", "a text has no classes"),
        ("{path: a.csv, features: {x: {kind: text, separator: ;}}}", "a separator needs kind"),
        ('{path: a.csv, features: {x: {kind: tags, separator: ""}}}', "expected a text as separ"),
    ],
)
def test_bad_sources_are_refused_in_one_line(tmp_path, fields, message):
    path = tmp_path / "tasks.yaml"
    path.write_text(
        f"sources: {{a: {fields}}}\ntasks: {{t: {{dataset: a, kind: language_model, inputs: x}}}}"
    )
    with pytest.raises(UserError) as error:
        load_tasks(path)
    assert str(path) in str(error.value) and "source 'a'" in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sources: [a]", "'sources' has no entries"),
        ("sources: {a: {path: x.csv}, a: {path: y.csv}}", "duplicate source name 'a'"),
        ("sources: {a: {path: x.csv, path: y.csv}}", "duplicate field 'path'"),
        ("sources: {a: {path: x.csv, features: {x: 0, x: 1}}}", "duplicate name 'x'"),
        ("sources: {3: {path: x.csv}}", "source name 3"),
        ("sources: {a/b: {path: x.csv}}", "source name 'a/b'"),
        ("sources: {a: !x {path: x.csv}}", "YAML tag '!x' not allowed"),
    ],
)
def test_bad_sections(text, message):
    with pytest.raises(UserError, match=message):
        parse_tasks(f"{text}\ntasks: {{t: {{dataset: a, kind: language_model, inputs: x}}}}")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dataset": ()}, "names no data set"),
        ({"dataset": ["a", 3]}, "expected a name, got 3"),
        ({"dataset": ["a", "a"]}, "a name appears twice"),
        ({"sources": (Dataset("b", path="b.csv"),)}, "'b' is not a data set of the task"),
        ({"sources": (Dataset("a", path="b.csv"),) * 2}, "duplicate source name 'a'"),
    ],
)
def test_bad_tasks(fields, message):
    good: dict[str, Any] = {"dataset": "a", "kind": "language_model", "inputs": "text"}
    with pytest.raises(UserError, match=message):
        Task("t", **(good | fields))


def test_a_list_of_data_sets_becomes_a_tuple():
    given: Any = ["a", "b"]
    task = Task("t", given, "language_model", "text")
    assert (task.dataset, task.datasets, task.source_name) == (("a", "b"), ("a", "b"), "a+b")


GUIDE = Path(__file__).resolve().parents[2] / "docs/tasks.md"


def test_the_examples_of_the_guide_can_be_read():
    blocks = re.findall(r"```yaml\n(sources:.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 7
    for block in blocks:
        names = re.findall(r"^  (\w+):", block.partition("tasks:")[0], re.MULTILINE)
        if "tasks:" not in block:
            block += "tasks:\n"
        block += f"  t: {{dataset: [{', '.join(names)}], kind: language_model, inputs: text}}\n"
        assert [source.name for source in parse_tasks(block)[-1].sources] == names


def test_the_guide_has_every_option():
    text = GUIDE.read_text(encoding="utf-8")
    for field in FIELDS:
        assert f"| `{field}` |" in text, field
    for ending in ENDINGS:
        assert f"`{ending}`" in text, ending
