import dataclasses
import io
import json
import warnings

import jax
import pytest
from rich.console import Console

from mtljax.errors import UserError
from mtljax.inference import load_run
from mtljax.presets import DataConfig, ProfileWindow, RegularizerConfig
from mtljax.tasks import Column, Dataset, Task
from mtljax.training import train
from mtljax.training.reporting.data_overview import class_counts, total_steps
from mtljax.training.reporting.metrics_file import read_metrics


@pytest.fixture
def config(config):
    """Of the linear encoder, whose programs compile in a third of the time."""
    encoder = dataclasses.replace(config.encoder, kind="linear", ngram_buckets=32)
    return dataclasses.replace(config, encoder=encoder)


def check_trace(directory, shown):
    """Check that steps 3 and 4, at the last of which the run is saved, were traced."""
    assert shown.count(f"traced: {directory / 'profile'}") == 1
    (path,) = (directory / "profile/plugins/profile").glob("*/*.xplane.pb")
    planes = jax.profiler.ProfileData.from_file(str(path)).planes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # as an error it ends the process
        marked = [
            dict(event.stats)["step_num"]
            for plane in planes
            for line in plane.lines
            for event in line.events
            if event.name == "step"
        ]
    assert sorted(marked) == [3, 4]


def test_a_window_past_the_last_step_starts_nothing(tiny, config, tasks, tmp_path):
    chosen = (tasks["label"],)
    passes = dataclasses.replace(config, epochs=0.001)
    for start, steps, message, asked in (
        (11, 3, "profile.start: steps 11 to 13 were to be traced, .* the run is 12$", config),
        (11, 3, "profile.start: steps 11 to 13 were to be traced, .* the run is 1$", passes),
        (0, 3, "profile.steps: needs profile.start", config),
        (2, 0, "profile.steps: must be at least 1, got 0", config),
    ):
        with pytest.raises(UserError, match=message):
            train(asked, chosen, tmp_path / "run", profile=ProfileWindow(start, steps))
    assert not (tmp_path / "run").exists()


def test_a_run_in_full(tiny, config, tasks, tmp_path):
    chosen = (tasks["label"], tasks["tags"], tasks["number"])
    config = dataclasses.replace(
        config, weighting="fixed", weighting_options={"weights": (0.5, 0.25, 2.0)}
    )
    output = Console(file=io.StringIO(), width=200)
    window = ProfileWindow(start=3, steps=2)
    parallel = dataclasses.replace(config.parallel, xla_flags=("xla_cpu_enable_fast_math=true",))
    config = dataclasses.replace(config, parallel=parallel)
    summary = train(config, chosen, tmp_path / "run", console=output, profile=window)
    check_trace(tmp_path / "run", output.file.getvalue())
    unused = "parallel.xla_flags: not in the environment, not used: xla_cpu_enable_fast_math=true"
    assert output.file.getvalue().count(unused) == 1
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"config.yaml", "tasks.yaml", "tokenizer.json", "layout.json",
                     "metrics.jsonl", "checkpoints", "summary.json", "digests.json",
                     "profile", ".metrics.crc", ".times.jsonl", ".lock"}  # fmt: skip
    lines = read_metrics(tmp_path / "run")
    assert [(line["step"], line["split"]) for line in lines] == [
        (3, "train"),
        (4, "train"),
        (4, "validation"),
        (6, "train"),
        (8, "train"),
        (8, "validation"),
        (9, "train"),
        (12, "train"),
        (12, "validation"),
    ]
    # Options go by the order of the tasks, although two of the three share an input group.
    first = lines[0]
    assert [first[f"weight/{name}"] for name in ("label", "tags", "number")] == [0.5, 0.25, 2.0]
    assert all(line["tokens_per_second"] > 0 for line in lines if line["split"] == "train")
    scores = {line["step"]: line["score"] for line in lines if line["split"] == "validation"}
    assert scores[summary["best_step"]] == max(scores.values()) == summary["score"]
    assert summary["score_tasks"] == ["label", "tags", "number"]
    assert summary["steps"] == 12 and 0.8 < summary["real_token_share"] <= 1
    best = next(line for line in lines if line["step"] == summary["best_step"]
                and line["split"] == "validation")  # fmt: skip
    for task, splits in summary["tasks"].items():
        assert set(splits) == {"validation", "test"}
        for name, value in splits["validation"].items():
            assert value == best[f"{task}/{name}"]


def test_no_steps_at_all(tiny, config, tasks, tmp_path):
    config = dataclasses.replace(config, steps=0)
    summary = train(config, (tasks["label"],), tmp_path)
    assert summary["best_step"] == 0 and summary["tokens_per_second"] is None
    (tmp_path / "summary.json").unlink()
    assert train(config, (tasks["label"],), tmp_path)["tasks"] == summary["tasks"]
    assert [line["step"] for line in read_metrics(tmp_path)] == [0]


@pytest.mark.parametrize("every, where", [(100, "no checkpoint yet"), (1, "step 1")])
def test_a_loss_that_is_not_finite_stops_the_run(tiny, config, tasks, tmp_path, every, where):
    optimizer = dataclasses.replace(config.optimizer, learning_rate=1e30, warmup_steps=0)
    # The average forgets quickly enough to stay finite for a step, and evaluation with it.
    config = dataclasses.replace(config, optimizer=optimizer, evaluate_every=every)
    with pytest.raises(UserError) as error:
        train(config, (tasks["number"],), tmp_path)
    message = str(error.value)
    assert "'number'" in message and "is not finite; stopped" in message and "step " in message
    if every == 100:
        assert where in message
    assert not (tmp_path / "summary.json").exists()


def test_never_saves_what_is_not_finite(tiny, config, tasks, tmp_path):
    # The loss of the step is still finite; what the step makes of the parameters is not.
    optimizer = dataclasses.replace(
        config.optimizer, learning_rate=3e38, warmup_steps=0, average=0.0, clip_norm=0.0
    )
    config = dataclasses.replace(config, optimizer=optimizer, evaluate_every=1)
    with pytest.raises(UserError, match="step 1: the validation loss of task 'number'") as error:
        train(config, (tasks["number"],), tmp_path)
    assert "no checkpoint yet" in str(error.value)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"weighting": "equl"}, "weighting 'equl': unknown.*equal"),
        ({"weighting_options": {"x": 1}}, "weighting 'equal': .*x"),
        ({"weighting": "fixed", "weighting_options": {"weights": [1.0]}}, "weighting 'fixed': "),
        ({"weighting": "uncertainty", "weighting_options": {"kind": ["regression"]}},
         "weighting 'uncertainty': kind: 1 given for 2 tasks"),
        ({"regularizer": RegularizerConfig(l2=1.0, l2_on="nothing")},
         "regularizer: select: 'nothing' picks none"),
        ({"regularizer": RegularizerConfig(group_lasso=1.0, group_lasso_on="(")},
         "regularizer: select: .* no regular expression"),
        ({"steps": -1}, "steps: must be at least 0"),
    ],
)  # fmt: skip
def test_user_errors_leave_nothing_behind(tiny, config, tasks, tmp_path, change, message):
    config = dataclasses.replace(config, **change)
    with pytest.raises(UserError, match=message) as error:
        train(config, (tasks["label"], tasks["number"]), tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_another_configuration_is_refused(tiny, config, tasks, tmp_path):
    config = dataclasses.replace(config, steps=0)
    train(config, (tasks["label"],), tmp_path)
    before = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir() if p.name != ".lock"}
    with pytest.raises(UserError, match=r"seed \(0 there, 1 asked for\)"):
        train(dataclasses.replace(config, seed=1), (tasks["label"],), tmp_path)
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in before} == before


def test_class_counts(make, plain, tasks, source):
    _, data = make(plain, (tasks["label"], tasks["next"]))
    counts = class_counts(data)
    assert set(counts) == {"next"}
    words = [word for row in source.splits["train"] for word in row["words"]]
    assert counts["next"][1] == len(source.splits["train"])  # </s>
    assert counts["next"].sum() == len(words) + len(source.splits["train"])
    class_of = data.outputs["next"].class_of_id(data.layout.vocab_size)
    for word in set(words):
        piece = list(data.tokenizer.pieces).index(word)
        assert counts["next"][class_of[piece]] == words.count(word)


@pytest.mark.parametrize("epochs", [0.0, 0.01, 2.0])
def test_total_steps(make, plain, tasks, epochs):
    _, data = make(plain, (tasks["label"],))
    config = dataclasses.replace(plain, epochs=epochs)
    shape = data.layout.shapes["tiny"]
    tokens = len(data.examples["tiny"]["train"].tokens)
    expected = max(1, round(epochs * tokens / (shape.rows * shape.row_length)))
    assert total_steps(config, data) == (expected if epochs else plain.steps)


def test_malformed_rows_are_counted_in_the_summary(config, tmp_path):
    rows = [json.dumps({"text": f"a film {i}", "y": i}) for i in range(30)]
    (tmp_path / "a.jsonl").write_text("\n".join([*rows[:10], "{", *rows[10:], "oops"]))
    source = Dataset("mine", path=str(tmp_path / "a.jsonl"))
    tasks = [Task("y", "mine", "regression", "text", "y", sources=(source,))]
    config = dataclasses.replace(config, steps=0)
    with pytest.raises(UserError, match="source 'mine', .*a.jsonl, line 11: not JSON"):
        train(config, tasks, tmp_path / "stopped")
    assert not (tmp_path / "stopped").exists()
    config = dataclasses.replace(config, data=DataConfig(bad_rows="skip"))
    shown = io.StringIO()
    console = Console(file=shown, width=200)
    summary = train(config, tasks, tmp_path / "run", console=console)
    assert summary["skipped_rows"] == {"mine": {"train": 2}}
    assert "warning: mine: malformed rows left out: 2 of train\n" in shown.getvalue()
    # What was described is read again from the run directory.
    values = load_run(tmp_path / "run").evaluate("validation")
    assert values["y"] == summary["tasks"]["y"]["validation"]
    other = dataclasses.replace(source, features=(Column("text", "text"),))
    again = [dataclasses.replace(tasks[0], sources=(other,))]
    with pytest.raises(UserError, match="task 'y' field sources .*'features': {'text': 'text'}"):
        train(config, again, tmp_path / "run")
