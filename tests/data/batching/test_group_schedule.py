import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mtljax.data.batching.group_schedule import AllGroups, GroupSubset
from mtljax.data.batching.mixture import inclusion


@given(
    stages=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=5),
    steps=st.integers(1, 40),
)
def test_rows_before_a_step_are_the_sum_of_those_read(stages, steps):
    schedule = AllGroups([{"a": a, "b": b} for a, b in stages], steps)
    had = {"a": 0, "b": 0}
    for step in range(steps + 5):
        assert schedule.rows_before(step) == had
        stage = min(step * len(stages) // steps, len(stages) - 1)
        assert schedule.rows_at(step) == {"a": stages[stage][0], "b": stages[stage][1]}
        had = {name: had[name] + n for name, n in schedule.rows_at(step).items()}


rates = st.lists(st.floats(0.01, 1), min_size=2, max_size=7)


@given(rates=rates, data=st.data())
def test_observed_steps_are_those_that_are_due(rates, data):
    names = [f"g{i}" for i in range(len(rates))]
    count = data.draw(st.integers(1, len(names) - 1))
    whole = sum(rates)
    shares = inclusion({n: r / whole for n, r in zip(names, rates, strict=True)}, count)
    schedule = GroupSubset(dict.fromkeys(names, 1), [shares], 300, [0])
    had = np.zeros(len(names))
    for step in range(300):
        read = np.asarray([schedule.rows_at(step)[name] for name in names])
        assert read.sum() == count and read.max() == 1
        had += read
        due = np.asarray([shares[name] for name in names]) * (step + 1)
        assert np.abs(had - due).max() < 1.5
    assert schedule.rows_before(300) == dict(zip(names, had.astype(int).tolist(), strict=True))


def test_observed_rates_over_ten_thousand_steps():
    rates = {"a": 0.62, "b": 0.3, "c": 0.07, "d": 0.01}
    schedule = GroupSubset({"a": 4, "b": 4, "c": 4, "d": 4}, [inclusion(rates, 1)], 10_000, [1])
    read = schedule.rows_before(10_000)
    for name, rate in rates.items():
        assert abs(read[name] / 40_000 - rate) <= 0.01 * rate


def test_rates_that_change_over_the_run():
    stages = [{"a": 0.9, "b": 0.1}, {"a": 0.5, "b": 0.5}]
    schedule = GroupSubset({"a": 1, "b": 1}, stages, 2000, [0])
    first, all_ = schedule.rows_before(1000), schedule.rows_before(2000)
    assert abs(first["a"] - 900) <= 1 and abs(all_["a"] - first["a"] - 500) <= 1


def test_any_step_can_be_asked_first():
    shares = inclusion({"a": 0.5, "b": 0.3, "c": 0.2}, 2)
    one, two = (GroupSubset({"a": 1, "b": 2, "c": 3}, [shares], 9000, [5]) for _ in range(2))
    late = one.rows_at(8000), one.rows_before(8000)
    for step in range(100):
        two.rows_at(step)
    assert (two.rows_at(8000), two.rows_before(8000)) == late


@given(rates=rates, data=st.data())
def test_inclusion_keeps_the_rates_as_far_as_it_can(rates, data):
    count = data.draw(st.integers(1, len(rates)))
    named = {str(i): rate / sum(rates) for i, rate in enumerate(rates)}
    found = inclusion(named, count)
    np.testing.assert_allclose(sum(found.values()), count)
    assert max(found.values()) <= 1 + 1e-12
    below = [found[name] / named[name] for name in named if found[name] < 1 - 1e-9]
    if below:  # all by the same factor, which no group that is full could have had
        np.testing.assert_allclose(below, below[0])
        assert all(named[n] * below[0] >= 1 - 1e-9 for n in named if found[n] >= 1 - 1e-9)
