"""YAML within bounds: what people write is read, and what nobody writes is answered at once."""

import time

import pytest
import yaml

from mtljax.errors import UserError
from mtljax.presets import parse_config
from mtljax.tasks import parse_tasks
from mtljax.yaml_values import read_yaml


def doubling(levels, line):
    """Anchors of which each repeats the one before twice."""
    return "a0: &a0 {k: [x, y]}\n" + "".join(line.format(i, i - 1) for i in range(1, levels))


@pytest.mark.parametrize(
    "text",
    [
        "{a: &x {k: 1, l: [yes, 2, 3.5, 1e3]}, b: {<<: *x, k: 2}, c: [*x, *x]}",
        "a: 2020-01-02\nb: ~\nc: 'it''s'\nd: |\n  two\n  lines\n",
        "- 1\n- [é, 日本]\n",
        "",
        "# nothing",
        "[" * 30 + "]" * 30,
    ],
)
def test_reads_what_yaml_reads(text):
    assert read_yaml(text)[0] == yaml.load(text, Loader=yaml.SafeLoader)


BOMBS = {
    "aliases": doubling(60, "a{0}: &a{0} [*a{1}, *a{1}]\n"),
    "merge keys": doubling(60, "a{0}: &a{0}\n  <<: [*a{1}, *a{1}]\n"),
    "a long value many times": f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 1000)}]",
    "an anchor inside itself": "a: &a [*a]",
    "depth": "[" * 400_000,
    "depth of blocks": "- " * 400_000,
    "depth of mappings": "{a: " * 200_000,
    "a long value": f"a: {'x' * 10_000_000}",
    "a long key": f"{'x' * 900_000}: 1\n? {'y' * 90_000}",
    "many values": f"a: [{'1, ' * 300_000}]",
    "many tasks": "tasks:\n" + "".join(f"  t{i}: &a{i} {{}}\n" for i in range(20_000)),
    "a long number": f"tasks: {{a: {'9' * 5000}}}",
}


@pytest.mark.parametrize("read", [parse_tasks, parse_config])
@pytest.mark.parametrize("name", BOMBS)
def test_what_nobody_writes_is_one_short_line(name, read):
    started = time.process_time()
    with pytest.raises(UserError) as error:
        read(BOMBS[name])
    assert time.process_time() - started < 2
    assert len(str(error.value)) <= UserError.LENGTH and "\n" not in str(error.value)


def test_the_reason_is_named():
    def reason(name):
        with pytest.raises(UserError) as error:
            read_yaml(BOMBS[name])
        return str(error.value)

    assert reason("aliases").endswith("aliases repeat values to more than 4000000 characters")
    assert reason("merge keys").startswith("line ")
    assert reason("an anchor inside itself") == "line 1: an anchor is part of itself"
    assert reason("depth") == "line 1: nested too deeply, beyond 32 levels"
    assert reason("a long value") == "10000003 characters, of at most 1000000"


@pytest.mark.parametrize("field", ["inputs", "weight", "metrics", "class_weights", "kind"])
def test_a_large_value_of_a_field_is_cut_in_the_message(field):
    fields = {"dataset": "d", "kind": "classification", "inputs": "text", "targets": "label"}
    lines = "".join(f"    {key}: {value}\n" for key, value in fields.items() if key != field)
    text = f"tasks:\n  a:\n{lines}    {field}: [{', '.join(['[xxxxxxxxxx]'] * 20_000)}]\n"
    with pytest.raises(UserError) as error:
        parse_tasks(text)
    assert str(error.value).startswith(f"task 'a', field '{field}': ")
    assert len(str(error.value)) <= UserError.LENGTH


def test_the_number_of_tasks_is_bounded():
    fields = "{dataset: d, kind: language_model, inputs: text}"
    text = f"tasks:\n  t: &t {fields}\n" + "".join(f"  t{i}: *t\n" for i in range(2000))
    with pytest.raises(UserError, match="^2001 tasks, of at most 2000$"):
        parse_tasks(text)
