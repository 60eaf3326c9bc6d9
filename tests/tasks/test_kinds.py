import pytest

from mtljax.tasks import (
    DEFAULT_TASKS,
    KINDS,
    LOWER_IS_BETTER,
    Task,
    is_bio,
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
        (["O", "TITLE"], "micro_f1"),
        (["NOUN", "VERB"], "accuracy"),
        (["O", "I-x"], "micro_f1"),
        (["O", "B-"], "micro_f1"),
    ],
)
def test_metric_of_tagging_depends_on_the_tags(classes, metric):
    assert main_metric(TAGGING, classes) == metric
    assert is_bio(classes) == (metric == "span_f1")


def test_own_metrics_win():
    task = Task("t", "d", "tagging", "tokens", "tags", metrics=("accuracy", "micro_f1"))
    assert metric_names(task, ["O", "B-x"]) == ("accuracy", "micro_f1")


def test_losses_have_one_name_each():
    task = Task("t", "d", "classification", "text", "label", loss="logistic")
    assert loss_name(task) == "sigmoid"
    assert loss_name(TAGGING) == "softmax"


def test_directions_are_of_known_metrics():
    known = {metric for kind in KINDS.values() for metric in kind.metrics}
    assert known >= LOWER_IS_BETTER
    assert "accuracy" not in LOWER_IS_BETTER
