import json

import pytest

pytestmark = pytest.mark.usefixtures("loaded_once")


def test_text_goes_on_from_the_prompt(mtljax, tiny_run):
    code, out, err = mtljax("generate", tiny_run, "--prompt", "This phone", "--max-tokens", 5)
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
        ("--samples", "0", "samples: must be at least 1, got 0"),
        ("--seed", "-1", "seed: must be in [0, 2^32), got -1"),
        ("--task", "stars", "task 'stars': is no language model"),
        ("--top-k", "x", "error parsing --top-k: "),
    ],
)
def test_bad_input(refused, tiny_run, option, value, message):
    assert refused("generate", tiny_run, "--prompt", "a", option, value).startswith(message)
