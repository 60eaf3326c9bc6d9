import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtljax.errors import UserError
from mtljax.tasks import DEFAULT_TASKS, Task, dump_tasks, load_tasks, parse_tasks

GOOD = "{dataset: d, kind: classification, inputs: text, targets: label}"


def test_reads_what_the_design_shows(tmp_path):
    path = tmp_path / "tasks.yaml"
    path.write_text(
        """
tasks:
  intent: {dataset: snips, kind: classification, inputs: tokens, targets: label}
  slots:  {dataset: snips, kind: tagging, inputs: tokens, targets: tags, metrics: [span_f1]}
  plot:   {dataset: movie_lm, kind: language_model, inputs: text, rate: 0.5}
  stars:
    dataset: movie_sentiment
    kind: regression
    inputs: text
    targets: rating
    weights:
""",
        encoding="utf-8",
    )
    tasks = load_tasks(path)
    assert [task.name for task in tasks] == ["intent", "slots", "plot", "stars"]
    assert tasks[1].metrics == ("span_f1",)
    assert tasks[2] == Task("plot", "movie_lm", "language_model", "text", rate=0.5)
    assert tasks[3].weights is None


names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*", fullmatch=True)
some_tasks = st.builds(
    Task,
    name=names,
    dataset=st.text(min_size=1).filter(lambda s: s.encode("utf-8", "ignore").decode() == s),
    kind=st.just("regression"),
    inputs=names | st.tuples(names, names).filter(lambda pair: pair[0] != pair[1]),
    targets=names,
    rate=st.none() | st.floats(1e-6, 1),
    weight=st.floats(0, 1e30),
    metrics=st.sampled_from([(), ("loss",), ("mean_squared_error", "loss")]),
    loss=st.sampled_from([None, "huber"]),
    max_length=st.none() | st.integers(2, 10**6),
)


@given(st.lists(some_tasks, min_size=1, max_size=4, unique_by=lambda task: task.name))
def test_what_is_written_reads_back_equal(tasks):
    assert parse_tasks(dump_tasks(tasks)) == tuple(tasks)


@given(
    st.sampled_from(["balanced", None])
    | st.dictionaries(names, st.floats(0, 1e9), min_size=1, max_size=4)
)
def test_class_weights_read_back_equal(weights):
    fields = {"scheme": "iob1", "class_weights": weights}
    tasks = (Task("t", "d", "tagging", "tokens", "tags", **fields),)
    assert parse_tasks(dump_tasks(tasks)) == tasks


def test_default_tasks_read_back_equal():
    assert parse_tasks(dump_tasks(DEFAULT_TASKS)) == DEFAULT_TASKS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("# nothing\n", "empty"),
        ("tasks:", "no entry"),
        ("tasks: {}", "no entry"),
        ("tasks: [a]", "no entry"),
        ("- a", "expected 'tasks:'"),
        ("42", "expected 'tasks:'"),
        (f"tasks: {{a: {GOOD}}}\nmore: 1", "unknown key 'more'"),
        ("tasks: {a: 3}", "task 'a'"),
        (f"tasks: {{a: {GOOD}, a: {GOOD}}}", "duplicate task name 'a'"),
        (f"tasks:\n  a: {GOOD}\n  a: {GOOD}", "line 3: duplicate task name 'a'"),
        ("tasks: {a: {dataset: d, dataset: e}}", "duplicate field 'dataset'"),
        (f"tasks: {{1: {GOOD}}}", "quote a number"),
        (f"tasks: {{no: {GOOD}}}", "task name False"),
        ("tasks: {a: {kind: tagging, inputs: x}}", "field 'dataset': missing"),
        ("tasks: {a: {dataset: , kind: tagging, inputs: x}}", "field 'dataset'"),
        ("tasks: {a: {dataset: d, kind: tagging, inputs: x, target: y}}", "did you mean 'targets'"),
        ("tasks: {a: {dataset: d, kind: tagging, inputs: x, targets: [y]}}", "field 'targets'"),
        ("tasks: !!python/object/apply:os.system [ls]", "YAML tag"),
        ("tasks: !!map {}", "YAML tag"),
        ("tasks: {a: !x b}", "YAML tag"),
        ("tasks: {a: ", "not YAML"),
        ("tasks: *x", "not YAML"),
        ("a: b: c", "not YAML"),
        ("\x00", "not YAML"),
        ("[" * 3000, "nested too deeply"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as error:
        load_tasks(path)
    assert str(path) in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_unreadable_files(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        load_tasks(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="directory"):
        load_tasks(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"tasks: \xff")
    with pytest.raises(UserError, match="not UTF-8"):
        load_tasks(tmp_path / "bytes.yaml")
