import pytest

from mtljax.data import all_causal, load_source
from mtljax.data.encoding.input_groups import input_groups
from mtljax.errors import UserError
from mtljax.tasks import DEFAULT_TASKS, Task


@pytest.fixture(scope="module")
def sources():
    return {task.dataset: load_source(task.dataset) for task in DEFAULT_TASKS}


def names(groups):
    return {group.name: [task.name for task in group.tasks] for group in groups}


def test_an_encoder_that_is_causal_for_all(sources):
    groups = input_groups(DEFAULT_TASKS, sources, all_causal)
    assert names(groups) == {
        "movie_sentiment": ["movie_sentiment", "movie_lm"],
        "movie_casepunct": ["movie_casepunct"],
        "amazon_sentiment": ["amazon_sentiment"],
    }
    assert {group.attention for group in groups} == {"causal"}
    assert not any(group.chunked for group in groups)


def test_an_encoder_with_masks(sources):
    groups = input_groups(DEFAULT_TASKS, sources)
    assert names(groups) == {task.name: [task.name] for task in DEFAULT_TASKS}
    assert [group.attention == "causal" for group in groups] == [False, False, True, False]
    assert [group.chunked for group in groups] == [False, False, True, False]


def test_names_are_unique(small_source):
    kinds = [("a", "classification", "label", None), ("b", "classification", "label", 8)]
    tasks = [
        Task(name, "small", kind, "text", targets, max_length=length)
        for name, kind, targets, length in kinds
    ]
    tasks += [
        Task("c", "small", "language_model", "text"),
        Task("d", "small", "tagging", "words", "tags"),
        Task("e", "small", "language_model", "text", max_length=9),
        Task("f", "small", "regression", "text", "y"),
    ]
    groups = input_groups(tasks, {"small": small_source()})
    assert names(groups)["small"] == ["a", "f"]
    assert len({group.name for group in groups}) == len(groups) == 5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (("classification", "txt", "label"), "no feature 'txt'; did you mean 'text'?"),
        (("classification", "qqq", "label"), "known: text, words, label, tags, y"),
        (("classification", "text", "lable"), "field 'targets'"),
        (("classification", "label", "label"), "is a class label, but classification needs"),
        (("classification", "text", "tags"), "a list of class labels"),
        (("tagging", "text", "tags"), "needs a list of texts"),
        (("tagging", "words", "label"), "is a class label"),
        (("regression", "text", "text"), "needs a number or a class label"),
    ],
)
def test_bad_features(small_source, fields, message):
    kind, inputs, targets = fields
    with pytest.raises(UserError) as error:
        input_groups([Task("t", "small", kind, inputs, targets)], {"small": small_source()})
    assert "task 't'" in str(error.value)
    assert message in str(error.value)


def test_weights_are_numbers(small_source):
    task = Task("t", "small", "regression", "text", "y", weights="label")
    with pytest.raises(UserError, match="a weight needs a number"):
        input_groups([task], {"small": small_source()})


@pytest.mark.parametrize(("kind", "targets"), [("language_model", None), ("text_to_text", "text")])
def test_what_writes_must_not_see_ahead(small_source, kind, targets):
    task = Task("t", "small", kind, "text", targets)
    with pytest.raises(ValueError, match=f"a {kind.replace('_', ' ')} needs causal"):
        input_groups([task], {"small": small_source()}, lambda task: "bidirectional")


def test_references_are_texts(small_source):
    task = Task("t", "small", "text_to_text", "text", "words", references="tags")
    with pytest.raises(UserError, match="field 'references': feature 'tags' .* list of class lab"):
        input_groups([task], {"small": small_source()})
