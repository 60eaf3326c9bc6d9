"""Observed shares follow those that are learned, and a schedule resumes to the last bit."""

import json

import numpy as np
import pytest

from mtljax.data.batching.group_schedule import GroupSubset
from mtljax.data.batching.learned_groups import LearnedGroups

ROWS = {"a": 4, "b": 2, "c": 1}
FIRST, SECOND = {"a": 0.5, "b": 0.3, "c": 0.2}, {"a": 0.1, "b": 0.1, "c": 0.8}


def read_of(schedule, steps):
    return [schedule.rows_at(step) for step in steps]


def test_without_learning_it_is_a_subset():
    for shares in (FIRST, {"a": 0.9, "b": 0.6, "c": 0.5}):
        given = GroupSubset(ROWS, [shares], 200, [3])
        learned = LearnedGroups(ROWS, shares, [3])
        assert read_of(learned, range(200)) == read_of(given, range(200))
        assert learned.rows_before(200) == given.rows_before(200)


def test_shares_follow_what_is_learned():
    schedule = LearnedGroups(ROWS, FIRST, [0])
    schedule.learn(100, SECOND)
    read = np.array([[row[n] / ROWS[n] for n in ROWS] for row in read_of(schedule, range(300))])
    assert (read.sum(1) == 1).all()
    for part, shares in ((read[:100], FIRST), (read[100:], SECOND)):
        due = np.array(list(shares.values())) * len(part)
        assert np.abs(part.sum(0) - due).max() < 2
    assert schedule.rows_before(300) == {n: int(read[:, i].sum()) * ROWS[n]
                                         for i, n in enumerate(ROWS)}  # fmt: skip


def test_whole_steps_are_counted_apart():
    schedule = LearnedGroups(ROWS, FIRST, [0], whole_every=5)
    read = read_of(schedule, range(50))
    assert all(row == ROWS for row in read[4::5])
    had = dict.fromkeys(ROWS, 0)
    for step, row in enumerate(read):
        assert schedule.rows_before(step) == had
        had = {name: had[name] + row[name] for name in ROWS}
    others = [row for step, row in enumerate(read) if (step + 1) % 5]
    assert [sum(row[n] > 0 for row in others) for n in ROWS] == [20, 12, 8]


def test_it_resumes_to_the_last_bit():
    random = np.random.default_rng(0)
    whole = LearnedGroups(ROWS, FIRST, [1], whole_every=7)
    for step in range(0, 120, 10):
        whole.learn(step + 15, dict(zip(ROWS, random.dirichlet(np.ones(3)).tolist(), strict=True)))
        if step == 60:
            saved = json.loads(json.dumps(whole.state(step)))
        whole.rows_at(step + 10)
    again = LearnedGroups(ROWS, FIRST, [1], whole_every=7)
    again.rows_at(3)  # as a run does that reads the shapes of its first batch
    again.resume(saved)
    pending = [part for part in whole._shares if part[0] > 75]
    for step, shares in pending:
        again.learn(step, dict(zip(ROWS, shares.tolist(), strict=True)))
    assert read_of(again, range(60, 150)) == read_of(whole, range(60, 150))
    assert again.rows_before(150) == whole.rows_before(150)
    assert again.state(150) == whole.state(150)


def test_what_is_planned_or_forgotten_cannot_be_changed():
    schedule = LearnedGroups(ROWS, FIRST, [0])
    schedule.rows_at(9)
    with pytest.raises(RuntimeError, match="step 9 is planned already"):
        schedule.learn(9, SECOND)
    schedule.learn(10, SECOND)
    schedule.state(8)
    with pytest.raises(RuntimeError, match="step 7 is forgotten"):
        schedule.rows_before(7)
