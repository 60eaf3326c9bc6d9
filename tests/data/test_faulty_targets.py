import json
from typing import Any

import pytest

from mtljax.data import DataOptions, load_data
from mtljax.errors import UserError
from mtljax.tasks import Dataset, Task

CONLL = "# text = a\n1-2\tab\t_\n1\ta\tO\n# a comment\n2\tb\t{tag}\n\n1\tc\tB-X\n"


def test_a_target_that_cannot_be_used_has_a_file_and_a_line(tmp_path):
    (tmp_path / "train.conllu").write_text(CONLL.format(tag="O") * 30)
    (tmp_path / "dev.conllu").write_text(CONLL.format(tag="I-X"))
    files: Any = {"train": "train.conllu", "validation": "dev.conllu"}
    features: Any = {"words": 1, "tags": 2}
    source = Dataset("s", files, features=features)
    task = Task("ner", "s", "tagging", "words", "tags", sources=(source,))
    with pytest.raises(UserError) as error:
        load_data([task], data_dir=tmp_path)
    assert str(error.value) == (
        f"task 'ner', data set 's', split 'validation', row 0 ({tmp_path}/dev.conllu, line 5): "
        "label 'I-X' does not occur in train; name all 'classes' of its feature, or leave "
        "such rows out with --data.bad-rows skip"
    )
    data = load_data([task], DataOptions(bad_rows="skip"), data_dir=tmp_path)
    assert data.skipped_targets == {"ner": {"validation": 1}}
    # Of several sets as one, with classes of their own.
    whole: Any = {"train": "train.conllu"}
    classes: Any = {"words": 1, "tags": {"column": 2, "classes": ["B-X", "O"]}}
    other = Dataset("other", whole, features=classes)
    both = Task("ner", ("other", "s"), "tagging", "words", "tags", sources=(other, *task.sources))
    with pytest.raises(UserError, match=r"row 0 \(.*dev.conllu, line 5\): label 'I-X' does not"):
        load_data([both], data_dir=tmp_path)


@pytest.mark.parametrize(
    ("kind", "bad", "reason"),
    [
        ("classification", {"y": "z"}, "label 'z' does not occur in train"),
        ("multilabel", {"y": ["a", "z"]}, "label 'z' does not occur in train"),
        ("regression", {"y": 1.0, "w": float("nan")}, "weight nan is not a finite number from 0"),
    ],
)
def test_other_targets_have_a_file_and_a_line(tmp_path, kind, bad, reason):
    good = {"classification": "a", "multilabel": ["a"], "regression": 2.0}[kind]
    rows = [{"text": f"t{i}", "y": good, "w": 1.0} for i in range(12)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    rows[7] |= bad
    (tmp_path / "b.jsonl").write_text("\n\n".join(map(json.dumps, rows)))
    files: Any = {"train": "a.jsonl[:6]", "validation": ["a.jsonl[6:]", "b.jsonl"]}
    task = Task("t", "s", kind, "text", "y", weights="w", sources=(Dataset("s", files),))
    with pytest.raises(UserError) as error:
        load_data([task], data_dir=tmp_path)
    where = f"split 'validation', row 13 ({tmp_path}/b.jsonl, line 15): {reason}"
    assert where in str(error.value)
