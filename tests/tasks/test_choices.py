import dataclasses

import pytest

from mtljax.tasks import (
    DEFAULT_TASKS,
    Task,
    loss_name,
    main_metric,
    metric_names,
)

TAGGING = Task("t", dataset="d", kind="tagging", inputs="tokens", targets="tags")


def test_main_metric_of_each_kind():
    mains = [main_metric(task) for task in DEFAULT_TASKS]
    assert mains == ["accuracy", "micro_f1", "perplexity", "accuracy"]
    regression = Task("r", dataset="d", kind="regression", inputs="text", targets="y")
    assert main_metric(regression) == "mean_squared_error"


@pytest.mark.parametrize(
    ("classes", "metric"),
    [
        (["O", "B-x", "I-x"], "span_f1"),
        (["B-x", "O"], "span_f1"),
        (["O", "I-x", "B-y"], "span_f1"),
        (["O", "I-x", "I-y"], "span_f1"),
        (["O", "B-x", "I-x", "E-x", "S-x"], "span_f1"),
        (["S-x", "O"], "span_f1"),
        (["O", "TITLE"], "micro_f1"),
        (["NOUN", "VERB"], "accuracy"),
        (["O", "B-"], "micro_f1"),
        (["O", "B-x", "L-x"], "span_f1"),
        (["B", "I", "O"], "span_f1"),
        (["O", "ORG-B", "ORG-I"], "span_f1"),
        (["0", "B-x"], "span_f1"),
        (["0", "PER"], "micro_f1"),
        (["0", "1"], "accuracy"),
        (["_", "NOUN"], "accuracy"),
        (["O", "B-x", "PUNCT"], "micro_f1"),
        (["O"], "micro_f1"),
        ([], "micro_f1"),
    ],
)
def test_metric_of_tagging_depends_on_the_tags(classes, metric):
    assert main_metric(TAGGING, classes) == metric


def test_a_scheme_that_is_named_wins():
    none = dataclasses.replace(TAGGING, scheme="none")
    assert metric_names(none, ["O", "B-x"]) == ("micro_f1", "accuracy")
    bioes = dataclasses.replace(TAGGING, scheme="bioes")
    assert metric_names(bioes, ["O", "B", "I"]) == ("span_f1", "accuracy")


def test_own_metrics_win():
    task = Task("t", "d", "tagging", "tokens", "tags", metrics=("accuracy", "micro_f1"))
    assert metric_names(task, ["O", "B-x"]) == ("accuracy", "micro_f1")


def test_losses_have_one_name_each():
    task = Task("t", "d", "classification", "text", "label", loss="logistic")
    assert loss_name(task) == "sigmoid"
    assert loss_name(TAGGING) == "softmax"
