import json
import math

import pytest

from mtljax.data import Feature, Source
from mtljax.data.sources.concatenation import combine
from mtljax.errors import UserError


def source(name, features, train, **splits):
    return Source(
        name=name,
        identity=f"id of {name}",
        features=features,
        splits={"train": train, **splits},
        fingerprint=lambda: f"print of {name}",
        skipped=lambda: {name: {"train": 1}},
    )


ONE = source(
    "one",
    {
        "text": Feature("text"),
        "label": Feature("label", ("bad", "good")),
        "tags": Feature("tags", ("O", "B-x")),
        "y": Feature("number"),
        "own": Feature("text"),
    },
    [
        {"text": "a", "label": 1, "tags": [0, 1], "y": 2.0, "own": "x"},
        {"text": "b", "label": -1, "tags": None, "y": None, "own": "x"},
    ],
    validation=[{"text": "v", "label": 0, "tags": [], "y": 1, "own": "x"}],
)
TWO = source(
    "two",
    {
        "text": Feature("text"),
        "label": Feature("label", ("good", "middling", "bad")),
        "tags": Feature("tags", ("B-y", "O")),
        "y": Feature("text"),
    },
    [{"text": "c", "label": 0, "tags": [1, 0, -1], "y": "2"}],
    test=[{"text": "t", "label": 1, "tags": [0], "y": "3"}],
)
NAMED = source(
    "named",
    {"text": Feature("text"), "label": Feature("text"), "tags": Feature("tokens")},
    [{"text": "d", "label": "fine", "tags": ["O", "B-z"]}],
)


def test_classes_are_united_by_name():
    both = combine([ONE, TWO])
    assert both.name == "one+two"
    assert both.features == {
        "text": Feature("text"),
        "label": Feature("label", ("bad", "good", "middling")),
        "tags": Feature("tags", ("O", "B-x", "B-y")),
    }
    assert list(both.splits["train"]) == [
        {"text": "a", "label": 1, "tags": [0, 1]},
        {"text": "b", "label": -1, "tags": None},
        {"text": "c", "label": 1, "tags": [0, 2, -1]},
    ]
    assert list(both.splits["validation"]) == [{"text": "v", "label": 0, "tags": []}]
    assert list(both.splits["test"]) == [{"text": "t", "label": 2, "tags": [2]}]
    assert both.skipped is not None
    assert both.skipped() == {"one": {"train": 1}, "two": {"train": 1}}


def test_labels_become_names_beside_names():
    both = combine([ONE, NAMED])
    assert both.features == {
        "text": Feature("text"),
        "label": Feature("text"),
        "tags": Feature("tokens"),
    }
    assert [row["label"] for row in both.splits["train"]] == ["good", None, "fine"]
    assert [row["tags"] for row in both.splits["train"]] == [["O", "B-x"], None, ["O", "B-z"]]


def test_the_order_matters_and_the_name_does_not():
    prints = [combine(sources).fingerprint for sources in ([ONE, TWO], [TWO, ONE], [ONE, TWO])]
    digests = [each() for each in prints if each is not None]
    assert digests[0] == digests[2] != digests[1]
    assert combine([ONE, TWO]).identity == json.dumps(["id of one", "id of two"])
    without = Source("n", "n", NAMED.features, NAMED.splits)
    assert combine([ONE, without]).fingerprint is None
    assert combine([ONE, without]).skipped() == {"one": {"train": 1}}  # pyright: ignore
    assert combine([ONE]) is ONE


def test_labels_without_names_do_not_go_with_named_ones():
    numbers = source("numbers", {"label": Feature("label")}, [{"label": 3}, {"label": math.nan}])
    assert combine([ONE, numbers]).features == {}
    assert combine([numbers, NAMED]).features == {}
    same = combine([numbers, numbers])
    assert same.features == {"label": Feature("label")}
    assert [row["label"] for row in same.splits["train"]][::2] == [3, 3]


def test_a_label_that_is_none_of_its_set():
    odd = source("odd", {"label": Feature("label", ("x",))}, [{"label": 1}])
    with pytest.raises(UserError, match="data set 'odd', feature 'label': label 1 is not in 0..0"):
        list(combine([ONE, odd]).splits["train"])
