import pytest

from mtljax.errors import UserError
from mtljax.inference.inputs import checked_inputs, select_input
from mtljax.tasks import Dataset, Task

ONE = Task("mood", "d", "classification", "review", "label")
TWO = Task("nli", "d", "classification", ("premise", "hypothesis"), "label")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a", "a"),
        (["a", "b"], ["a", "b"]),
        ({"review": "a", "text": "b"}, "a"),
        ({"text": "a", "tokens": ["b"], "other": "c"}, "a"),
        ({"tokens": ["b"]}, ["b"]),
        ({"premise": "a", "hypothesis": "b"}, None),
    ],
)
def test_a_task_of_one_input(text, read):
    assert select_input(ONE, text, named=False) == read


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ({"hypothesis": "b", "id": "c", "premise": ["a"]}, (["a"], "b")),
        ({"text": "a"}, None),
        ("a", None),
    ],
)
def test_a_task_of_two_inputs(text, read):
    assert select_input(TWO, text, named=False) == read


@pytest.mark.parametrize(
    ("task", "text", "named", "message"),
    [
        (TWO, {"premise": "a"}, False, "task 'nli': text {'premise': 'a'} has no 'hypothesis'; "
         'expected {"premise": ..., "hypothesis": ...}'),
        (TWO, "a", True, "task 'nli': text 'a' has no 'premise' and 'hypothesis'"),
        (ONE, {"title": "a" * 99}, True, f"text {{'title': '{'a' * 46}... has no 'review'; "),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(task, text, named, message):
    with pytest.raises(UserError) as error:
        select_input(task, text, named=named)
    assert message in str(error.value)


def test_texts_of_other_types():
    assert checked_inputs(["a", ["b"], {"c": "d"}]) == ["a", ["b"], {"c": "d"}]
    for bad in ("a", {"a": "b"}):
        with pytest.raises(TypeError, match="expected a list of texts"):
            checked_inputs(bad)
    for bad in (3, ["a", 3], {"a": 3}, {"a": "b", "c": [3]}, [{"a": "b"}]):
        with pytest.raises(TypeError, match="text 1: expected a str"):
            checked_inputs(["a", bad])


NESTED = {"meta": {"body": "a", "id": 3, "turns": [{"by": "x"}, {"by": "y"}]}}


@pytest.mark.parametrize(
    ("inputs", "features", "text", "read"),
    [
        ("meta.body", {}, NESTED, "a"),
        ("meta.body", {}, {"meta.body": "a"}, "a"),
        ("body", {"body": "meta.body"}, NESTED, "a"),
        ("body", {"body": "meta.body"}, {"body": "b"}, "b"),
        ("text", {"text": "body"}, {"text": "other", "body": "a"}, "a"),
        ("by", {"by": "meta.turns.by"}, NESTED, ["x", "y"]),
        ("words", {"words": {"kind": "tokens"}}, {"words": "EU rejects."}, ["EU", "rejects."]),
        (("a", "b"), {"a": "b", "b": "a"}, {"a": "1", "b": "2"}, ("1", "2")),
        (("a", "b"), {"a": "x.a", "b": "x.b"}, {"x": {"a": "1", "b": "2"}}, ("1", "2")),
    ],
)
def test_features_lie_where_the_data_has_them(inputs, features, text, read):
    source = Dataset("s", {"train": "a.jsonl"}, features=features)
    task = Task("t", "s", "classification", inputs, "label", sources=(source,))
    assert checked_inputs([text]) == [text]
    assert select_input(task, text, named=True) == read


def test_a_list_that_is_none_is_named():
    source = Dataset("s", {"train": "a.jsonl"}, features={"words": {"kind": "tokens"}})
    task = Task("t", "s", "classification", "words", "label", sources=(source,))
    with pytest.raises(UserError, match="task 't': .* begins with '\\[' and is no list"):
        select_input(task, {"words": "[a"}, named=True)
