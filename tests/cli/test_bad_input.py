"""Everything a user can get wrong before training starts: one line, code 2, nothing left behind."""

import pytest

TASK = {
    "dataset": "amazon_sentiment",
    "kind": "classification",
    "inputs": "text",
    "targets": "label",
}


def tasks(**changes):
    fields = ", ".join(f"{name}: {value}" for name, value in {**TASK, **changes}.items())
    return f"tasks: {{a: {{{fields}}}}}"


ONE = tasks().removeprefix("tasks: {").removesuffix("}")


@pytest.fixture
def train_refused(refused, tmp_path, monkeypatch):
    """Runs `train` and checks that no run directory is left behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MTLJAX_DATA_DIR", raising=False)

    def run(*arguments):
        before = sorted(tmp_path.rglob("*"))
        message = refused("train", *arguments)
        assert sorted(tmp_path.rglob("*")) == before
        return message

    return run


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tasks(dataset="amazon_sentimnt"), "task 'a': unknown data set 'amazon_sentimnt'"),
        (tasks(dataset="glue"), "task 'a': data set 'glue' is in the TFDS catalogue but not"),
        (tasks(inputs="txt"), "task 'a', field 'inputs': data set 'amazon_sentiment' has no"),
        (tasks(targets="labl"), "task 'a', field 'targets': data set 'amazon_sentiment' has no"),
        (tasks(kind="clasification"), "field 'kind': unknown kind 'clasification'; did you mean"),
        (tasks(kind="text_to_text", targets="label"), "text_to_text needs a text or a list of"),
        (tasks(los="hinge"), "field 'los': unknown field; did you mean 'loss'?"),
        (tasks(loss="hing"), "field 'loss': unknown loss 'hing'"),
        (tasks(weight=-1), "field 'weight': -1 is not in [0, inf)"),
        (tasks(batch_size=0), "field 'batch_size': 0 is less than 1"),
        (tasks(targets="rating"), "task 'a', data set 'amazon_sentiment', split 'train', row 0: "),
        (f"tasks:\n  {ONE}\n  {ONE}\n", "line 3: duplicate task name 'a'"),
        ("", "empty"),
        ("tasks: {}", "'tasks' has no entry"),
        ("tasks: [", "not YAML"),
        ("tasks: !!python/object/apply:os.system ['true']", "YAML tag "),
        (b"\xff\xfe\x00", "not UTF-8 text"),
        (tasks(weight="2020-13-45"), "a value cannot be read: month must be in 1..12"),
        (tasks(weight="0b_"), "a value cannot be read: "),
        (tasks(weight="9" * 5000), "a value cannot be read: "),
        (tasks(weight="9" * 400), "task 'a', field 'weight': too large a number"),
        (tasks(batch_size="9" * 30), "input group 'amazon_sentiment': a step of "),
        (tasks(dataset="~nobody-of-this-name/x"), "task 'a': unknown data set '~nobody"),
    ],
)
def test_tasks_files(train_refused, tmp_path, content, message):
    path = tmp_path / "tasks.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert message in train_refused("--tasks", path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("path: ~nosuch/x.jsonl", "source 's': no file '~nosuch/x.jsonl' in '"),
        ("splits: {train: ~nosuch/x.csv}", "split 'train': no file '~nosuch/x.csv' in '"),
        ("dataset: ~nosuch/x", "source 's': unknown data set '~nosuch/x'"),
    ],
)
def test_homes_of_nobody(train_refused, tmp_path, source, message):
    path = tmp_path / "tasks.yaml"
    path.write_text(f"sources: {{s: {{{source}}}}}\n" + tasks(dataset="s"))
    assert message in train_refused("--tasks", path)


def test_tasks_files_that_cannot_be_read(train_refused, tmp_path):
    assert train_refused("--tasks", "nowhere.yaml") == (
        "tasks file nowhere.yaml: No such file or directory"
    )
    assert "Is a directory" in train_refused("--tasks", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--preset=", "preset '': unknown"),
        ("--preset smal", "preset 'smal': unknown; did you mean 'small'?"),
        ("--weighting equl", "weighting 'equl': unknown; did you mean 'equal'?"),
        ("--weighting fixed", "weighting 'fixed': "),
        ("--weighting fixed --weighting.weights [1,2]", "weighting 'fixed': weights: 2 given for"),
        ("--weighting random --weighting.sed 3", "weighting 'random': "),
        ("--weighting.seed 3", "weighting 'equal': "),
        ("--weighting.seed 2020-13-45", "--weighting.seed: '2020-13-45' is not YAML"),
        ("--encoder.featurs 3", "unrecognized options: --encoder.featurs, 3; did you mean"),
        ("--encoder.features x", "error parsing --encoder.features: "),
        ("--encoder.kind rnn", "invalid choice 'rnn' for argument '--encoder.kind'"),
        ("--encoder.features 7", "encoder.features: must be even, got 7"),
        ("--steps -3", "steps: must be at least 0, got -3"),
        ("--steps 2147483648", "steps: must be at most 2147483647, got 2147483648"),
        ("--epochs 1e300", "epochs: must make less than 2^31 steps, got "),
        ("--steps", "missing value for argument '--steps'"),
        ("--batch.tokens 0", "batch.tokens: must be at least 1, got 0"),
        ("--batch.tokens 4", "batch_tokens 4: must be at least row_length, 64"),
        ("--optimizer.learning-rate nan", "optimizer.learning_rate: must be finite, got nan"),
        ("--optimizer.learning-rate -1", "optimizer.learning_rate: must be positive, got -1"),
        ("--seed -1", "seed: must be at least 0, got -1"),
        ("--tokenizer.kind bpe --tokenizer.vocab-size 3", "tokenizer vocab_size: "),
        ("--tokenizer.kind letters", "invalid choice 'letters' for argument '--tokenizer.kind'"),
        ("--tokenizer.kind file", "tokenizer file: kind 'file' needs the path of a tokenizer.json"),
        ("--tokenizer.file t.json", "tokenizer file: 't.json' is read by kind 'file' only"),
        (
            "--tokenizer.kind file --tokenizer.file t.json",
            "tokenizer file t.json: No such file or directory",
        ),
        (
            "--tokenizer.kind file --tokenizer.file one.yaml",
            "tokenizer file one.yaml: cut short or damaged: ",
        ),
        ("--regularizer.l2 1 --regularizer.l2-on (", "regularizer: select: '('"),
        ("--data-dir nowhere", "task 'a': data directory 'nowhere': no such directory"),
        (f"--data-dir {'x' * 300}", "task 'a': data directory 'xxx"),
        (f"--run-dir {'x' * 300}", "run directory xxx"),
        ("--run-dir one.yaml", "run directory one.yaml: File exists"),
        ("--run-dir one.yaml/below/it", "run directory one.yaml/below/it: Not a directory"),
        ("--run-dir .", "run directory .: holds 'one.yaml', which is no run"),
        ("more", "unrecognized options: more"),
    ],
)
def test_options(train_refused, tasks_file, arguments, message):
    assert train_refused("--tasks", tasks_file, *arguments.split()).startswith(message)


def test_a_language_model_cannot_look_ahead(train_refused, tmp_path):
    path = tmp_path / "tasks.yaml"
    path.write_text("tasks: {l: {dataset: amazon_sentiment, kind: language_model, inputs: text}}")
    message = train_refused("--tasks", path, "--encoder.bidirectional", "yes")
    assert message.startswith("encoder.bidirectional: ")


def test_loggers_need_their_package(train_refused, tasks_file, monkeypatch):
    import sys

    for name, package in (("tensorboard", "tensorboardX"), ("wandb", "wandb")):
        monkeypatch.setitem(sys.modules, package, None)
        message = train_refused("--tasks", tasks_file, "--log-to", name)
        assert message == f"log_to: {name} needs a package: pip install {package}"
    message = train_refused("--tasks", tasks_file, "--log-to", "wandbb")
    assert message.startswith("log_to 'wandbb': unknown; did you mean 'wandb'")


def test_options_that_have_nothing_to_act_on_are_refused(refused):
    message = refused("relate", "--samples", "16")
    assert "--samples: of a task that is new; name one with --leave-out" in message
    message = refused("plan", "--preset", "linear", "--optimizer.solver", "ridge")
    assert "optimizer.solver 'ridge': makes no steps that could be planned" in message
