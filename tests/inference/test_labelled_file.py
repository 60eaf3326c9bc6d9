"""A run's own test split, as a file, has the values of the split, whatever the format."""

import csv
import json

import numpy as np
import pytest

from mtljax.errors import UserError
from mtljax.inference import evaluate_file


@pytest.fixture(scope="module")
def own_values(loaded_tiny_run):
    return loaded_tiny_run.evaluate("test")


def same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5)


def test_the_test_split_as_a_file(loaded_tiny_run, own_values, tiny_run, tmp_path):
    reviews = tiny_run.parent / "r" / "test.jsonl"
    rows = [json.loads(line) for line in reviews.read_text().splitlines()]
    table = tmp_path / "[own].csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["more", "rating", "text", "label"])
        writer.writerows(
            [i, row["rating"], row["text"], row["label"]] for i, row in enumerate(rows)
        )
    for path in (reviews, table):
        found = evaluate_file(loaded_tiny_run, path)
        assert set(found.values) == {"sentiment", "writer", "stars"}
        assert (
            found.lacking.keys() == {"casing"} and "no column 'tokens'" in found.lacking["casing"]
        )
        for task, values in found.values.items():
            same(values, own_values[task])
    tags = evaluate_file(loaded_tiny_run, tiny_run.parent / "c" / "test.jsonl", ["casing"])
    same(tags.values["casing"], own_values["casing"])


def test_what_cannot_be_measured(loaded_tiny_run, tmp_path):
    path = tmp_path / "own.jsonl"
    for content, tasks, message in (
        (
            '{"text": "a", "label": "fine"}',
            (),
            r"own.jsonl, line 1: feature 'label': 'fine' is not",
        ),
        ('{"text": "a"}', ("sentiment",), "task 'sentiment': no column 'label'; there are 'text'"),
        ('{"a": "b"}', (), "nothing of it is measured; task 'sentiment': no column"),
        ("", (), "own.jsonl: no rows"),
        ('{"text": "a", "label": null}', ("sentiment",), "no row has a target of sentiment"),
        ("{", (), "own.jsonl:1: "),
        ('{"text": "a"}', ("nosuch",), "task 'nosuch': unknown to"),
    ):
        path.write_text(f"{content}\n")
        with pytest.raises(UserError, match=message) as raised:
            evaluate_file(loaded_tiny_run, path, tasks)
        assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match="No such file"):
        evaluate_file(loaded_tiny_run, tmp_path / "none.csv")
