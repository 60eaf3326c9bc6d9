import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtljax.data import Group
from mtljax.data.batching.mixture import (
    MixtureSettings,
    group_rates,
    num_stages,
    progress,
    rows_per_group,
)
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


@pytest.mark.parametrize("settings", [MixtureSettings(), MixtureSettings(subset=1)])
@pytest.mark.parametrize("multiple", [1, 4, 8, 50])
def test_rows_are_shared_in_blocks(settings, multiple):
    groups = [group("a"), group("b", batch_size=40), group("c")]
    tokens = {"a": 3000, "b": 900, "c": 700}
    found = rows_per_group(groups, tokens, tokens, 6400, 64, settings, multiple=multiple)
    assert all(count > 0 and count % multiple == 0 for count in found.values())
    if multiple == 8:
        # Of twelve blocks one is b's, and the others are shared as 3000 to 700.
        expected = {"a": 72, "b": 8, "c": 16} if not settings.subset else dict.fromkeys("ac", 96)
        assert {**found, **expected} == found


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


TOKENS = {"a": 80_000, "b": 20_000, "c": 1_250}
GROUPS = [group("a"), group("b"), group("c")]


def test_temperature_draws_rates_together():
    found = group_rates(GROUPS, TOKENS, MixtureSettings(temperature=2))
    roots = {name: n**0.5 for name, n in TOKENS.items()}
    assert found == pytest.approx({n: root / sum(roots.values()) for n, root in roots.items()})


def test_a_cap_limits_the_larger_sets():
    found = group_rates(GROUPS, TOKENS, MixtureSettings(cap=20_000))
    assert found == pytest.approx({"a": 20 / 41.25, "b": 20 / 41.25, "c": 1.25 / 41.25})


def test_equal_rates_beside_a_task_with_its_own():
    groups = [group("a"), group("b", rate=0.4), group("c")]
    found = group_rates(groups, TOKENS, MixtureSettings(rates="equal"))
    assert found == pytest.approx({"a": 0.3, "b": 0.4, "c": 0.3})


def test_a_schedule_goes_from_the_first_temperature_to_the_last():
    settings = MixtureSettings(temperature=1, final_temperature=5, stages=3)
    assert num_stages(GROUPS, settings) == 3
    for stage, temperature in enumerate((1, 3, 5)):
        found = group_rates(GROUPS, TOKENS, settings, progress(stage, 3))
        expected = group_rates(GROUPS, TOKENS, MixtureSettings(temperature=temperature))
        assert found == pytest.approx(expected)


def test_a_task_may_have_a_rate_at_the_start_and_one_at_the_end():
    groups = [group("a", rate=[0.2, 0.6]), group("b"), group("c")]
    assert num_stages(groups, MixtureSettings(stages=5)) == 5
    half = group_rates(groups, TOKENS, at=0.5)
    assert half["a"] == pytest.approx(0.4)
    assert half["b"] / half["c"] == pytest.approx(20_000 / 1_250)
    found = [
        rows_per_group(groups, TOKENS, TOKENS, 6400, 64, at=progress(s, 5))["a"] for s in range(5)
    ]
    assert found == [20, 30, 40, 50, 60]


def test_rates_that_do_not_change_have_one_stage():
    assert num_stages(GROUPS, MixtureSettings(temperature=2, final_temperature=2)) == 1
    assert num_stages(GROUPS, MixtureSettings(rates="equal", final_temperature=2)) == 1
    assert progress(0, 1) == 0.0


def test_a_step_of_some_groups_shares_its_rows_among_them():
    found = rows_per_group(GROUPS, TOKENS, TOKENS, 6400, 64, MixtureSettings(subset=2))
    assert found == {"a": 50, "b": 50, "c": 50}


@pytest.mark.parametrize(
    "options, message",
    [
        ({"rates": "some"}, "mixture.rates 'some': expected one of"),
        ({"temperature": 0.0}, "mixture.temperature: must be positive, got 0.0"),
        ({"temperature": float("nan")}, "mixture.temperature: must be finite, got nan"),
        ({"final_temperature": -1.0}, "mixture.final_temperature: must be at least 0, got -1"),
        ({"cap": -1}, "mixture.cap: must be at least 0, got -1"),
        ({"stages": 1}, "mixture.stages: must be at least 2, got 1"),
        ({"subset": -2}, "mixture.subset: must be at least 0, got -2"),
    ],
)
def test_settings_that_cannot_be_used(options, message):
    with pytest.raises(UserError, match=message):
        MixtureSettings(**options)


@pytest.mark.parametrize("rate", [0, -0.1, [0.1], [0.1, 0.0], [0.1, 0.2, 0.3], [0.1, 2.0]])
def test_rates_that_cannot_be_used(rate):
    with pytest.raises(UserError, match="task 'a', field 'rate'"):
        group("a", rate=rate)
