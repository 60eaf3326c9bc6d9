import dataclasses
import importlib
import json
import signal

import pytest
import tokenizers
import yaml

from mtljax.cli.train import default_run_directory, read_options
from mtljax.errors import UserError
from mtljax.inference import load_run
from mtljax.presets import preset
from mtljax.tasks import DEFAULT_TASKS, SENTIMENT_TASKS
from mtljax.training import read_metrics
from mtljax.training.persistence.run_directory import read_run


def test_what_a_run_prints_and_leaves(tiny_run):
    out = (tiny_run.parent / "stdout.txt").read_text()
    assert (tiny_run.parent / "stderr.txt").read_text() == ""
    assert out.startswith("small: 4 steps on ")
    for task in ("sentiment", "casing", "writer", "stars"):
        assert f"│ {task}" in out or f"| {task}" in out
    assert f"curves: {tiny_run / 'curves.png'}" in out
    assert f"run: {tiny_run} " in out
    assert (tiny_run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert [line["step"] for line in read_metrics(tiny_run) if line["split"] == "train"] == [
        1,
        2,
        3,
        4,
    ]
    config = yaml.safe_load((tiny_run / "config.yaml").read_text())
    given = {"tokens": 512, "row_length": 32}
    assert config["batch"] == {**given, "multiple": 1, "ahead": 4, "workers": 0}


def test_a_complete_run_is_left_as_it_is(mtljax, tiny_run, tiny_options):
    names = ["metrics.jsonl", "summary.json", "config.yaml", "tokenizer.json"]
    before = [(tiny_run / name).stat().st_mtime_ns for name in names]
    tasks = tiny_run.parent / "tasks.yaml"
    arguments = ["--tasks", tasks, "--run-dir", tiny_run, *tiny_options]
    code, out, err = mtljax("train", *arguments, "--json")
    assert code == 0
    assert json.loads(out) == json.loads((tiny_run / "summary.json").read_text())
    assert "complete, nothing to do" in err
    assert [(tiny_run / name).stat().st_mtime_ns for name in names] == before


def test_another_configuration_is_refused(refused, tiny_run, tiny_options):
    files = {path: path.read_bytes() for path in tiny_run.iterdir() if path.is_file()}
    tasks = tiny_run.parent / "tasks.yaml"
    options = ["--run-dir", tiny_run, *tiny_options]
    message = refused("train", "--tasks", tasks, *options, "--seed", 7, "--encoder.dense", "3")
    assert f"run directory {tiny_run}: holds another configuration" in message
    assert "seed (0 there, 7 asked for)" in message
    assert "encoder.dense (0 there, 3 asked for)" in message
    assert "task 'stars' (only there)" in refused("train", *options)
    assert {path: path.read_bytes() for path in files} == files


def test_defaults():
    options, tasks = read_options([])
    assert (options.config, tasks) == (preset("small").config, DEFAULT_TASKS)
    options, tasks = read_options(["--preset=linear", "--steps", "7"])
    assert options.config.encoder == preset("linear").config.encoder
    assert (options.config.steps, tasks) == (7, SENTIMENT_TASKS)


def test_overrides_in_both_spellings():
    arguments = ["--optimizer.learning-rate", "1e-3", "--encoder.feed_forward=64"]
    arguments += [
        "--tokenizer.prefixes",
        "2",
        "3",
        "--heads.pooling",
        "last",
        "--encoder.remat",
        "full",
    ]
    config = read_options([*arguments, "--tokenizer.no-lowercase"])[0].config
    assert config.optimizer.learning_rate == 1e-3
    assert config.encoder.feed_forward == 64
    assert config.encoder.remat == "full"
    assert config.tokenizer.prefixes == (2, 3)
    assert not config.tokenizer.lowercase
    assert config.heads.pooling == ("last",)


def test_a_run_to_start_from_says_what_is_not_given(tiny_run):
    begun = load_run(tiny_run).config
    arguments = ["--preset", "linear", "--encoder.from-run", str(tiny_run)]
    config = read_options([*arguments, "--encoder.dropout", "0.25", "--heads.from-run"])[0].config
    assert config.encoder.features == begun.encoder.features == 8
    assert (config.encoder.kind, config.encoder.dropout) == ("lstm", 0.25)
    assert config.encoder.from_run == str(tiny_run) and config.heads.from_run
    assert config.tokenizer == begun.tokenizer
    assert config.optimizer == preset("linear").config.optimizer
    with pytest.raises(UserError, match="encoder.from_run none: no run there"):
        read_options(["--encoder.from-run", "none"])


def test_steps_turn_epochs_off():
    assert read_options(["--preset", "textbook"])[0].config.epochs == 10
    config = read_options(["--preset", "textbook", "--steps", "3"])[0].config
    assert (config.steps, config.epochs) == (3, 0)
    config = read_options(["--preset", "textbook", "--steps", "3", "--epochs", "2"])[0].config
    assert config.epochs == 2


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["--weighting.weights", "[1, 2.5]"], {"weights": [1, 2.5]}),
        (["--weighting.lr=1e-3"], {"lr": 1e-3}),
        (["--weighting.some-name", "text", "--weighting.n", "-3"], {"some_name": "text", "n": -3}),
        (["--weighting.flag", "true"], {"flag": True}),
    ],
)
def test_options_of_a_weighting(arguments, options):
    config = read_options(["--weighting", "random", *arguments, "--seed", "2"])[0].config
    assert (config.weighting, config.weighting_options) == ("random", options)
    assert config.seed == 2


@pytest.mark.parametrize(
    ("arguments", "directory"),
    [
        ([], "runs/small-seed0"),
        (["--preset", "linear", "--seed", "3"], "runs/linear-seed3"),
        (["--weighting", "random"], "runs/small-random-seed0"),
    ],
)
def test_where_a_run_is_kept(arguments, directory, tasks_file):
    assert default_run_directory(read_options(arguments)[0]) == directory
    more = read_options([*arguments, "--tasks", str(tasks_file)])[0]
    name = directory.removeprefix("runs/").split("-")
    first = name[0] if "--preset" in arguments else "auto"
    assert default_run_directory(more) == "runs/" + "-".join([first, "one", *name[1:]])


def test_curves_need_the_extra(monkeypatch, tmp_path):
    import sys

    from mtljax.cli.train import _draw

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "mtljax.training.reporting.plot_curves", raising=False)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "split": "train", "loss/a": 1.0}\n')
    assert _draw(tmp_path) == "curves: not drawn; the extra 'plot' (matplotlib) draws them"


def test_curves_of_a_directory_that_cannot_be_written(tmp_path, monkeypatch):
    from mtljax.cli.train import _draw

    def refuse(directory):
        raise PermissionError(13, "Permission denied")

    figures = importlib.import_module("mtljax.training.reporting.plot_curves")
    monkeypatch.setattr(figures, "draw_curves", refuse)
    assert _draw(tmp_path) == f"curves: not drawn; {tmp_path}: Permission denied"


def test_textbook_reads_imdb_reviews_where_it_is_prepared(tmp_path, monkeypatch):
    monkeypatch.delenv("MTLJAX_DATA_DIR", raising=False)
    arguments = ["--preset", "textbook", "--data-dir", str(tmp_path)]
    assert [task.dataset for task in read_options(arguments)[1]] == [
        "movie_sentiment",
        "amazon_sentiment",
    ]
    place = tmp_path / "imdb_reviews" / "1.0.0"
    place.mkdir(parents=True)
    (place / "features.json").write_text("{}")
    imdb, amazon = read_options(arguments)[1]
    assert (imdb.name, imdb.dataset, amazon.dataset) == (
        "imdb_reviews",
        "imdb_reviews",
        "amazon_sentiment",
    )
    assert (imdb.inputs, imdb.targets, imdb.loss) == ("text", "label", "sigmoid")
    assert read_options(["--data-dir", str(tmp_path)])[1] == DEFAULT_TASKS


def test_a_loss_that_is_not_finite(mtljax, tasks_file, linear_options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--tasks", tasks_file, *linear_options, "--steps", 9, "--evaluate-every", 2]
    # The first update comes after step 3, and is far too large.
    options += ["--optimizer.accumulate", 3, "--optimizer.average", 0]
    options += ["--optimizer.learning-rate", "3e38", "--optimizer.warmup-steps", 0]
    code, _, err = mtljax("train", *options)
    assert code == 2
    assert err == (
        "mtljax train: step 4: the loss of task 'a' (nan) is not finite; "
        "stopped (last good checkpoint: step 2)\n"
    )
    directory = tmp_path / "runs" / "auto-one-seed0"
    assert not (directory / "summary.json").exists()
    assert load_run(directory).step == 2


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["character", "file"])
def test_a_run_over_other_pieces_than_words(mtljax, linear_options, tasks_file, tmp_path, kind):
    tasks, run, file = tmp_path / "tasks.yaml", tmp_path / "run", tmp_path / "tokenizer.json"
    more = ", l: {dataset: reviews, kind: language_model, inputs: text}}"
    tasks.write_text(tasks_file.read_text().removesuffix("}") + more)
    options = ["--tasks", tasks, "--run-dir", run, *linear_options, "--steps", 2]
    options += ["--heads.negatives", 0, "--tokenizer.kind", kind]
    if kind == "file":
        letters = {c: i for i, c in enumerate("?abcdefghijklmnopqrstuvwxyz .,'!")}
        model = tokenizers.Tokenizer(tokenizers.models.BPE(letters, [], unk_token="?"))
        model.decoder = tokenizers.decoders.Fuse()
        model.save(str(file))
        options += ["--tokenizer.file", file]
    code, out, err = mtljax("train", *options)
    assert (code, err) == (0, "") and " pieces, " in out
    # The data chose what was not said, which the first lines tell, and the run keeps.
    lines = out.splitlines()
    assert lines[0].startswith("auto: 2 tasks, 200 texts of ")
    assert lines[1].startswith("auto: 2 steps on ")  # all other reasons are of what was said
    kept = yaml.safe_load((run / "config.yaml").read_text())
    assert (kept["preset"], kept["optimizer"]["warmup_share"]) == ("auto", 0.05)
    file.unlink(missing_ok=True)  # the run has all it needs
    outputs = load_run(run).layout.outputs
    assert outputs["l"].num_classes == load_run(run).tokenizer.vocab_size - 2
    code, out, _ = mtljax("predict", run, "--json", "a good phone")
    assert code == 0 and set(json.loads(out)) >= {"a", "l"}
    code, out, _ = mtljax("generate", run, "--prompt", "a goo", "--max-tokens", 5, "--json")
    # Letters go on where the prompt ends.
    assert code == 0 and len(json.loads(out)["continuation"]) <= 5


def signalled(process, number, tasks_file, linear_options, directory):
    """A long run that gets a signal after its first steps, when it has ended, and its stderr."""
    options = ["--tasks", tasks_file, "--run-dir", directory, *linear_options]
    running = process("train", *options, "--steps", 1_000_000)
    for line in running.stdout:
        if line.startswith("step "):
            break
    running.send_signal(number)
    return running, running.communicate(timeout=60)[1]


def test_ctrl_c(process, tasks_file, linear_options, tmp_path):
    """It saves the step that the run is at."""
    directory = tmp_path / "run"
    running, err = signalled(process, signal.SIGINT, tasks_file, linear_options, directory)
    assert running.returncode == 130, err
    (saved,) = (directory / "checkpoints").iterdir()
    assert int(saved.name) > 0
    assert err == (
        "mtljax train: interrupted: stops when the step is saved; again, and it stops at once\n"
        f"mtljax train: interrupted; step {saved.name} is saved, the same command continues from "
        "there\n"
    )


def test_sigterm(process, tasks_file, linear_options, tmp_path):
    directory = tmp_path / "run"
    running, err = signalled(process, signal.SIGTERM, tasks_file, linear_options, directory)
    assert running.returncode == 143, err
    (saved,) = (directory / "checkpoints").iterdir()
    assert int(saved.name) > 0
    line = (
        f"mtljax train: SIGTERM; step {saved.name} is saved, the same command continues from there"
    )
    assert err == f"{line}\n"


def test_refused_options():
    for arguments in (["--weighting.seed"], ["--weighting.seed", "--steps", "3"]):
        with pytest.raises(UserError, match="--weighting.seed: needs a value"):
            read_options(arguments)
    with pytest.raises(UserError, match="--weighting.w: '\\[' is not YAML"):
        read_options(["--weighting.w", "["])


def test_a_run_is_repeated_from_what_it_left(tiny_run):
    file = str(tiny_run / "config.yaml")
    options, tasks = read_options(["--config", file])
    begun = read_run(tiny_run)
    assert (options.config, tasks) == (begun.config, begun.tasks)
    assert default_run_directory(options) == "runs/run-again"
    changed, _ = read_options([f"--config={file}", "--steps", "9", "--weighting", "random"])
    expected = dataclasses.replace(begun.config, steps=9, epochs=0.0, weighting="random")
    assert changed.config == expected


def test_a_configuration_that_cannot_be_repeated(refused, tiny_run, tmp_path):
    file = tiny_run / "config.yaml"
    assert "--config: not with --preset" in refused("train", "--config", file, "--preset", "small")
    assert "No such file" in refused("train", "--config", tmp_path / "none.yaml")
    (tmp_path / "config.yaml").write_text("preset: linear\nstepz: 3\n")
    assert "unknown field 'stepz'" in refused("train", "--config", tmp_path / "config.yaml")


def test_options_of_a_method_do_not_go_to_another(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("preset: linear\nweighting: cagrad\nweighting_options: {c: 0.3}\n")
    same = read_options(["--config", str(file), "--weighting", "cagrad"])[0].config
    assert same.weighting_options == {"c": 0.3}
    other = read_options(["--config", str(file), "--weighting", "mgda"])[0].config
    assert (other.weighting, other.weighting_options) == ("mgda", {})
