import json

import pytest

from mtljax.errors import UserError
from mtljax.inference.generation_metrics import (
    ReferencedSource,
    bleu_note,
    generation_metrics,
    sources_of,
    write_texts,
)
from mtljax.tasks import Task

TASK = Task("reply", "d", "text_to_text", "source", "target", references="others")
ROWS = [
    {"source": "a", "target": "x", "others": ["y", "x"]},
    {"source": ["b", "c"], "target": ["t", "u"], "others": None},
    {"source": "a", "target": "z", "others": "y"},
    {"source": "e", "target": None, "others": []},
    {"source": "b c", "target": None, "others": ["v"]},
]
QUESTIONS = [
    ReferencedSource("a", ("x", "y", "z")),
    ReferencedSource(["b", "c"], ("t u",)),
    ReferencedSource("b c", ("v",)),
]


def test_each_source_stands_once_with_all_its_references():
    assert sources_of(TASK, ROWS) == QUESTIONS
    plain = Task("reply", "d", "text_to_text", "source", "target")
    assert sources_of(plain, ROWS[:1]) == [ReferencedSource("a", ("x",))]


def test_measures_of_perfect_and_of_useless_texts():
    questions = [
        ReferencedSource("s", ("The cat sat on it", "no")),
        ReferencedSource("t", ("a dog ran to us",)),
    ]
    perfect = generation_metrics(
        questions, ["the cat sat on it", "a dog ran to us"], lowercase=True
    )
    assert perfect["bleu"] == pytest.approx(100)
    assert perfect["chrf"] == pytest.approx(100)
    assert perfect["rouge_l"] == 1
    assert (perfect["distinct_1"], perfect["repetition_4"]) == (1, 0)
    cased = generation_metrics(questions, ["the cat sat on it", "a dog ran to us"], lowercase=False)
    assert cased["bleu"] < 100 and cased["chrf"] < 100
    useless = generation_metrics(questions, ["q q q q q q", ""], lowercase=True)
    assert useless["bleu"] == useless["rouge_l"] == 0
    assert useless["repetition_4"] == pytest.approx(2 / 3)
    assert useless["distinct_1"] == pytest.approx(1 / 6)


def test_texts_stand_beside_source_and_references(tmp_path):
    path = tmp_path / "generated" / "reply-test.jsonl"
    write_texts(path, QUESTIONS, ["é", "two", "\udc80"])
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert lines[0] == {"source": "a", "text": "é", "references": ["x", "y", "z"]}
    assert [line["text"] for line in lines[1:]] == ["two", "?"]
    assert [entry.name for entry in path.parent.iterdir()] == ["reply-test.jsonl"]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "generated").write_text("a file")
    with pytest.raises(UserError, match="generated/x.jsonl: "):
        write_texts(tmp_path / "generated" / "x.jsonl", [], [])


def test_what_is_said_of_bleu(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert bleu_note(QUESTIONS) is None
    for reference, note in (
        ("我喜欢猫", "tokenizer 'zh': the references are Chinese"),
        ("猫が好き", "tokenizer 'char': the references are Japanese"),
        ("ฉันชอบอ่าน", "tokenizer 'char': the references have no blanks between words"),
    ):
        said = bleu_note([ReferencedSource("a", (reference,))])
        assert said is not None and note in said
