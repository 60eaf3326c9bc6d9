import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtljax.data import Shape
from mtljax.data.batching.group_schedule import AllGroups, GroupSubset
from mtljax.data.batching.row_order import plan_rows
from mtljax.data.batching.training_batches import Stream, training_batches
from mtljax.data.encoding.cache import Cache, cached_examples
from tests.data.packed import EXAMPLES, SHAPE, TASKS, batches_of, check, make_examples

OTHERS = make_examples(np.random.default_rng(2).integers(1, 9, size=23), seed=3)
MIXTURES = {
    "all": AllGroups([{"g": 4, "h": 8}], steps=40),
    "stages": AllGroups([{"g": 4, "h": 8}, {"g": 8, "h": 4}, {"g": 8, "h": 8}], steps=40),
    "some": GroupSubset({"g": 4, "h": 8}, [{"g": 0.7, "h": 0.3}], 40, [0]),
}


def iterator(seed=0, **options):
    return batches_of(EXAMPLES, SHAPE, seed, **options)


def test_each_epoch_has_each_example_once():
    batches = iterator(ahead=0)
    seen = []
    while len(seen) < 3 * len(EXAMPLES) + 50:
        seen += check(next(batches)["g"], EXAMPLES, SHAPE)
    # Epochs follow one another without a gap, so the first ones are whole.
    for epoch in range(3):
        part = seen[epoch * len(EXAMPLES) : (epoch + 1) * len(EXAMPLES)]
        assert sorted(part) == list(range(len(EXAMPLES)))
    assert seen[: len(EXAMPLES)] != seen[len(EXAMPLES) : 2 * len(EXAMPLES)]


@pytest.mark.parametrize("ahead", [0, 1, 4])
def test_resuming_is_exact(ahead):
    batches = iterator(ahead=ahead)
    for _ in range(7):
        next(batches)
    state = json.loads(json.dumps(batches.get_state()))
    rest = [next(batches) for _ in range(9)]
    assert len(json.dumps(state)) < 100
    other = iterator(ahead=ahead)
    next(other)
    other.set_state(state)
    for batch in rest:
        np.testing.assert_equal(next(other), batch)
    batches.close()
    other.close()


def test_the_seed_gives_the_order():
    one, same, other = (next(iterator(seed, ahead=0))["g"]["tokens"] for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


def test_the_shards_of_a_batch_make_it_up():
    whole = next(iterator(ahead=0))["g"]["tokens"]
    parts = [next(iterator(ahead=0, shard=(i, 2)))["g"]["tokens"] for i in range(2)]
    assert (np.concatenate(parts) == whole).all()
    # A host whose devices do not stand beside each other has several parts.
    rows = np.split(whole, 4)
    several = next(iterator(ahead=0, shard=((0, 3), 4)))["g"]["tokens"]
    assert (several == np.concatenate([rows[0], rows[3]])).all()
    with pytest.raises(ValueError, match="divided by 3"):
        iterator(shard=(0, 3))


def test_a_batch_of_more_rows_than_there_are_in_an_epoch():
    few = make_examples(np.array([3, 4]))
    shape = Shape(rows=5, row_length=4, max_segments=1, affixes=2)
    batches = batches_of(few, shape, ahead=0)
    assert sorted(check(next(batches)["g"], few, shape)) in ([0, 0, 0, 1, 1], [0, 0, 1, 1, 1])


def mixed(mixture, examples=(EXAMPLES, OTHERS), seed=0, **options):
    streams = {
        name: Stream(part, plan_rows(part, 12, 5), TASKS, SHAPE)
        for name, part in zip("gh", examples, strict=True)
    }
    return training_batches(streams, MIXTURES[mixture], seed, **{"ahead": 0, **options})


@given(
    position=st.integers(0, 60),
    mixture=st.sampled_from(sorted(MIXTURES)),
    seed=st.integers(0, 2**34),
)
@settings(max_examples=50)
def test_interrupted_anywhere_the_rest_is_the_same(position, mixture, seed):
    whole = mixed(mixture, seed=seed)
    rest = [next(whole) for _ in range(position + 3)][position:]
    assert whole.get_state() == {"next_index": position + 3}
    again = mixed(mixture, seed=seed)
    again.set_state({"next_index": position})
    for batch in rest:
        np.testing.assert_equal(next(again), batch)


@pytest.mark.parametrize("mixture", sorted(MIXTURES))
def test_any_number_of_hosts_makes_the_same_batches(mixture):
    whole = mixed(mixture)
    hosts = {n: [mixed(mixture, shard=(i, n)) for i in range(n)] for n in (2, 4)}
    for _ in range(45):
        batch = next(whole)
        for parts in hosts.values():
            shares = [next(part) for part in parts]
            for name in "gh":
                tokens = np.concatenate([share[name]["tokens"] for share in shares])
                # A group that sits a step out has an empty row on every host.
                absent = not batch[name]["segments"].any()
                assert not tokens.any() if absent else (tokens == batch[name]["tokens"]).all()


def test_another_number_of_hosts_goes_on_at_the_same_position():
    one, *two = mixed("stages"), mixed("stages", shard=(0, 2)), mixed("stages", shard=(1, 2))
    for _ in range(17):
        next(one)
    for host in two:
        host.set_state(one.get_state())
    expected = next(one)["h"]["tokens"]
    np.testing.assert_array_equal(np.concatenate([next(h)["h"]["tokens"] for h in two]), expected)


@pytest.mark.parametrize("mixture", sorted(MIXTURES))
def test_epochs_are_whole_in_every_mixture(mixture):
    batches, seen = mixed(mixture), {"g": [], "h": []}
    for _ in range(60):
        batch = next(batches)
        for name, examples in (("g", EXAMPLES), ("h", OTHERS)):
            shape = Shape(len(batch[name]["tokens"]), 12, 5, 2)
            seen[name] += check(batch[name], examples, shape)
    before = MIXTURES[mixture].rows_before(60)
    for name, examples in (("g", EXAMPLES), ("h", OTHERS)):
        epochs, rest = divmod(before[name], plan_rows(examples, 12, 5).num_rows)
        times = np.bincount(seen[name], minlength=len(examples))
        assert epochs >= 2 and times.min() >= epochs and times.max() <= epochs + (rest > 0)


def test_rows_that_a_stage_cannot_divide():
    schedule = AllGroups([{"g": 4}, {"g": 6}], steps=2)
    batches = batches_of(EXAMPLES, SHAPE, schedule=schedule, shard=(0, 4), ahead=0)
    next(batches)
    with pytest.raises(ValueError, match="'g': 6 rows cannot be divided by 4"):
        next(batches)


def test_processes_make_the_same_batches(tmp_path):
    """Two of them, and one that goes on from there."""
    # Examples on disk, which each process opens for itself.
    cache = Cache(tmp_path)
    stored = [
        cached_examples(cache, str(i), lambda e=e: [e]) for i, e in enumerate((EXAMPLES, OTHERS))
    ]
    alone, together = mixed("some"), mixed("some", stored, workers=2, ahead=2)
    for _ in range(5):
        np.testing.assert_equal(next(together), next(alone))
    other = mixed("some", stored, workers=1, ahead=1)
    other.set_state(together.get_state())
    for _ in range(4):
        np.testing.assert_equal(next(other), next(alone))
    together.close()
    other.close()
    assert len(pickle.dumps(stored)) < 1000
