import dataclasses
import io
import json

import pytest

from mtljax.cli.draft import locked_draft
from mtljax.cli.generate import Options, chosen_settings
from mtljax.cli.options import parse, print_json
from mtljax.inference.generation_config import GenerationConfig
from mtljax.tasks import Task

pytestmark = pytest.mark.usefixtures("loaded_once")


def test_text_continues_the_prompt(mtljax, tiny_run):
    code, out, err = mtljax("generate", tiny_run, "--prompt", "This phone", "--max-tokens", 3)
    assert (code, err) == (0, "")
    assert out.startswith("This phone")


def test_json_and_samples(mtljax, tiny_run):
    options = ["--prompt", "a", "--prompt", "b", "--samples", 2, "--max-tokens", 8, "--json"]
    code, out, err = mtljax("generate", tiny_run, *options, "--seed", 3)
    assert (code, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["prompt"] for line in lines] == ["a", "a", "b", "b"]
    assert lines[0]["continuation"] != lines[1]["continuation"]
    assert mtljax("generate", tiny_run, *options, "--seed", 3)[1] == out
    assert mtljax("generate", tiny_run, *options, "--seed", 4)[1] != out


def test_without_a_prompt_a_text_begins(mtljax, tiny_run):
    code, out, _ = mtljax("generate", tiny_run, "--max-tokens", 3, "--temperature", 0)
    assert code == 0
    assert out[0] != " "


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--temperature", "-1", "temperature: must be finite and at least 0, got -1.0"),
        ("--temperature", "nan", "temperature: must be finite"),
        ("--top-p", "0", "top_p: must be in (0, 1], got 0.0"),
        ("--top-p", "1.5", "top_p: must be in (0, 1], got 1.5"),
        ("--top-k", "-1", "top_k: must be at least 0, got -1"),
        ("--max-tokens", "-1", "max_tokens: must be in [0, 100000], got -1"),
        ("--samples", "0", "samples: must be in [1, 10000], got 0"),
        ("--seed", "-1", "seed: must be in [0, 2^32), got -1"),
        ("--task", "stars", "task 'stars': is no language model nor text to text"),
        ("--min-p", "-0.1", "min_p: must be in [0, 1], got -0.1"),
        ("--repetition-penalty", "0", "repetition_penalty: must be finite and above 0, got 0.0"),
        ("--no-repeat-ngram", "-1", "no_repeat_ngram: must be at least 0, got -1"),
        ("--beam", "5000", "beam: must be in [0, "),
        ("--length-penalty", "nan", "length_penalty: must be finite, got nan"),
        ("--stop", "", "stop: a text must not be empty"),
        ("--prompt", "the " * 40, "prompt 2: the text has 41 tokens, and the model reads 32"),
        ("--prompt", "", "prompt 2: the text is empty"),
        ("--input", "x", "give either --prompt or --input, not both"),
        ("--top-k", "x", "error parsing --top-k: "),
    ],
)
def test_bad_input(refused, tiny_run, option, value, message):
    assert refused("generate", tiny_run, "--prompt", "a", option, value).startswith(message)


def write(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def continuations(text):
    return [json.loads(line)["continuation"] for line in text.splitlines()]


@pytest.mark.parametrize(
    ("kind", "arguments", "expected"),
    [
        ("language_model", [], GenerationConfig(50, 0.8, top_p=0.95)),
        ("text_to_text", [], GenerationConfig(128, 0.0, top_p=0.95)),
        ("text_to_text", ["--max-tokens", "50", "--stop", "a", "--stop", "b", "--prompt", "c"],
         GenerationConfig(50, 0.0, top_p=0.95, stop=("a", "b"))),
        ("text_to_text", ["--temperature", "0.8", "--top-p", "1", "--truncate-left"],
         GenerationConfig(128, 0.8, top_p=1.0, too_long="left")),
        ("language_model", ["--temperature", "0", "--beam", "3"],
         GenerationConfig(50, 0.0, top_p=0.95, beam=3)),
    ],
)  # fmt: skip
def test_defaults_are_those_of_the_kind(kind, arguments, expected):
    task = Task("a", "d", kind, "text", "text" if kind == "text_to_text" else None)
    options = parse(Options, "generate", ["RUN", *arguments])
    found = chosen_settings(["RUN", *arguments], options, task)
    assert dataclasses.asdict(found) == dataclasses.asdict(expected)


def test_long_prompts_are_cut_off_where_that_is_wanted(mtljax, tiny_run):
    options = ["--prompt", "the " * 40, "--max-tokens", 3, "--truncate-left"]
    code, out, err = mtljax("generate", tiny_run, *options)
    assert (code, err) == (0, "")
    assert out.startswith("the " * 40)


def test_every_way_to_write_a_prompt(mtljax, tiny_run, tmp_path):
    lines = ["the phone", '"the phone"', '{"prompt": "the phone"}', '{"text": "the phone"}',
             '{"tokens": ["the", "phone"]}', '{"text": "the phone", "more": "x"}', "a"]  # fmt: skip
    path = write(tmp_path / "in.jsonl", *lines)
    options = ["--max-tokens", 3, "--temperature", 0]
    code, out, err = mtljax("generate", tiny_run, "--input", path, *options, "--json")
    assert (code, err) == (0, "")
    found = continuations(out)
    assert len(set(found[:6])) == 1 and len(found) == 7
    expected = mtljax("generate", tiny_run, "--prompt", "the phone", *options, "--json").out
    assert continuations(expected) == found[:1]


def test_from_stdin_to_stdout(mtljax, tiny_run, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("the phone\nit\n"))
    code, out, err = mtljax("generate", tiny_run, "--input", "-", "--max-tokens", 3)
    assert (code, err) == (0, "")
    begun = zip(out.splitlines(), ["the", "it"], strict=True)
    assert all(line.startswith(prompt) and line > prompt for line, prompt in begun)


def test_a_line_that_cannot_be_used_is_named(refused, tiny_run, tmp_path):
    path = write(tmp_path / "in.jsonl", "it", "the " * 40)
    message = refused("generate", tiny_run, "--input", path)
    assert message.startswith(f"{path}:2: the text has 41 tokens, and the model reads 32 at once")
    path = write(tmp_path / "in.jsonl", '{"x": 1}')
    assert refused("generate", tiny_run, "--input", path).startswith(f"{path}:1: expected a string")
    path = write(tmp_path / "in.jsonl", "it", "")
    assert refused("generate", tiny_run, "--input", path) == f"{path}:2: the text is empty"
    assert refused("generate", tiny_run, "--input", tmp_path / "no").startswith("--input ")


def test_beams(mtljax, tiny_run):
    options = ["--prompt", "it", "--max-tokens", 3, "--beam", 3, "--samples", 2, "--json"]
    first, second = continuations(mtljax("generate", tiny_run, *options).out)
    assert first != second
    assert continuations(mtljax("generate", tiny_run, *options, "--seed", 9).out) == [first, second]


@pytest.fixture
def job(tiny_run, tmp_path):
    """Arguments of a command with an output, the output, and its draft."""
    path = write(tmp_path / "in.jsonl", *(["it", "the phone", "it"] * 3))
    out = tmp_path / "out.jsonl"
    arguments = ["generate", tiny_run, "--input", path, "--output", out, "--max-tokens", 3,
                 "--samples", 2]  # fmt: skip
    return arguments, out, tmp_path / ".out.jsonl.part"


def test_an_output_has_a_line_a_text(mtljax, job, tmp_path):
    arguments, out, _ = job
    assert mtljax(*arguments) == (0, "", "")
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["prompt"] for line in lines[:6]] == ["it"] * 2 + ["the phone"] * 2 + ["it"] * 2
    assert len(lines) == 18
    assert {path.name for path in tmp_path.iterdir()} == {"in.jsonl", "out.jsonl"}


@pytest.mark.parametrize("rest", ["", '{"prompt": "the ph'])
def test_an_interrupted_output_is_resumed_after_its_last_line(mtljax, job, monkeypatch, rest):
    arguments, out, draft = job
    mtljax(*arguments)
    whole = out.read_text()
    out.unlink()
    monkeypatch.setattr("mtljax.cli.generate.BATCH", 2)
    written = []

    def interrupt(value, file):
        written.append(value)
        if len(written) > 5:
            raise KeyboardInterrupt
        print_json(value, file)

    with monkeypatch.context() as patch:
        patch.setattr("mtljax.cli.generate.print_json", interrupt)
        code, _, err = mtljax(*arguments)
    assert code == 130
    assert err.endswith("interrupted; the same command continues where the output was left\n")
    assert not out.exists()
    assert draft.read_text() == "".join(whole.splitlines(keepends=True)[:5])
    with draft.open("a") as file:
        file.write(rest)
    asked = []
    monkeypatch.setattr(
        "mtljax.cli.generate.print_json",
        lambda value, file: asked.append(value) or print_json(value, file),
    )
    assert mtljax(*arguments).code == 0
    assert out.read_text() == whole
    assert len(asked) == 18 - 4  # two whole prompts were done


def test_an_unfinished_output_of_something_else_is_kept(mtljax, refused, job, monkeypatch):
    arguments, out, draft = job

    def stop(value, file):
        print_json(value, file)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mtljax.cli.generate.print_json", stop)
        assert mtljax(*arguments).code == 130
    before = draft.read_text()
    message = refused(*arguments, "--seed", 1)
    assert message.startswith(f"--output {out}: an unfinished one with another seed is there")
    draft.write_text(before * 2)
    write(out.with_name("in.jsonl"), "another")
    assert "an unfinished one of other prompts is there" in refused(*arguments)
    assert draft.read_text() == before * 2


def test_one_process_at_a_time_writes_an_output(refused, job, tiny_run, tmp_path):
    arguments, out, draft = job
    with locked_draft(str(out)):
        draft.write_text("mine\n")
        message = f"--output {out}: another process is writing it; wait for its end"
        assert refused(*arguments) == message
        assert refused("predict", tiny_run, "a", "--output", out) == message
        assert draft.read_text() == "mine\n" and not out.exists()


def test_a_draft_that_is_done_is_left_to_the_one_that_wrote_it(tmp_path):
    """Who has opened it before it got its name makes one of its own."""
    out = tmp_path / "out.jsonl"
    with locked_draft(str(out)) as draft:
        draft.write_text("done")
        draft.replace(out)
        with locked_draft(str(out)) as other:
            assert other == draft and other.read_text() == ""
    assert out.read_text() == "done"


def test_an_output_that_cannot_be_written(refused, tiny_run, tmp_path):
    message = refused("generate", tiny_run, "--output", tmp_path / "no" / "out.jsonl")
    assert message.startswith(f"--output {tmp_path}/no/out.jsonl: No such file")


def test_a_stream_shows_what_comes_at_once_without_it(mtljax, tiny_run):
    options = ["--prompt", "it ", "--prompt", "the phone", "--samples", 2, "--max-tokens", 6]
    expected = mtljax("generate", tiny_run, *options)
    assert mtljax("generate", tiny_run, *options, "--stream") == expected
    assert len(expected.out.splitlines()) == 4


@pytest.mark.parametrize("other", ["--json", "--beam=2", "--output=x"])
def test_a_stream_is_for_people(refused, tiny_run, other):
    message = refused("generate", tiny_run, "--stream", other)
    assert message.startswith("--stream shows words as they are written: not with --")
