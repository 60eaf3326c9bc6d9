import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtljax.data import Group
from mtljax.data.mixture import rows_per_group
from mtljax.errors import UserError
from mtljax.tasks import Task


def group(name, **fields):
    task = Task(name, "d", "classification", "text", "label", **fields)
    return Group(name, (task,), "text", "bidirectional", None, False)


def rows(groups, tokens, batch_tokens=6400, row_length=64, examples=None):
    examples = examples or {name: n // 10 for name, n in tokens.items()}
    return rows_per_group(groups, tokens, examples, batch_tokens, row_length)


def test_in_proportion_to_the_tokens():
    assert rows([group("a"), group("b")], {"a": 3000, "b": 1000}) == {"a": 75, "b": 25}


def test_rates_are_shares_of_the_step():
    groups = [group("a", rate=0.5), group("b"), group("c")]
    assert rows(groups, {"a": 1, "b": 3000, "c": 2000}) == {"a": 50, "b": 30, "c": 20}


def test_only_proportions_count_when_all_have_rates():
    groups = [group("a", rate=0.9), group("b", rate=0.3)]
    assert rows(groups, {"a": 1, "b": 1}) == {"a": 75, "b": 25}


def test_batch_size_is_in_examples():
    # 32 examples of 20 ids are 640 ids, ten full rows, eleven as they are packed.
    found = rows(
        [group("a", batch_size=32), group("b")],
        {"a": 2000, "b": 10},
        examples={"a": 100, "b": 1},
    )
    assert found == {"a": 10, "b": 90}


def test_rates_that_leave_nothing():
    with pytest.raises(UserError, match="leaves nothing for b"):
        rows([group("a", rate=1.0), group("b")], {"a": 1, "b": 1})


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=8), st.integers(1, 50))
def test_rows_add_up_and_nobody_goes_without(tokens, total):
    names = [f"g{i}" for i in range(len(tokens))]
    found = rows(
        [group(name) for name in names],
        dict(zip(names, tokens, strict=True)),
        batch_tokens=total * 64,
    )
    assert sum(found.values()) == max(total, len(names))
    assert min(found.values()) >= 1
