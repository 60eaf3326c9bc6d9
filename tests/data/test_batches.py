import json

import numpy as np
import pytest

from mtljax.data import Shape, all_causal, evaluation_batches, load_data, training_batches, unpack
from mtljax.data.examples import Examples
from mtljax.tasks import DEFAULT_TASKS, Task

TASKS = (
    Task("c", "d", "classification", "x", "y"),
    Task("t", "d", "tagging", "x", "y"),
    Task("r", "d", "regression", "x", "y"),
)


def make_examples(lengths, seed=0):
    """Each id, target and weight tells from which example and position it comes."""
    rng = np.random.default_rng(seed)
    n = int(np.sum(lengths))
    row = np.repeat(np.arange(len(lengths)), lengths)
    within = np.arange(n) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    tokens = (1000 * (row + 1) + within).astype(np.int32)
    return Examples(
        tokens=tokens,
        affixes=np.stack([tokens, -tokens], 1),
        starts=np.concatenate([[0], np.cumsum(lengths)]),
        rows=np.arange(len(lengths), dtype=np.int32),
        targets={
            "c": np.arange(len(lengths), dtype=np.int32),
            "t": tokens + 1,
            "r": np.arange(len(lengths)).astype(np.float32) / 2,
        },
        weights={
            "c": np.ones(len(lengths), np.float32),
            "t": rng.integers(0, 2, n).astype(np.float32),
            "r": rng.random(len(lengths), np.float32),
        },
    )


EXAMPLES = make_examples(np.random.default_rng(1).integers(1, 9, size=57))
SHAPE = Shape(rows=4, row_length=12, max_segments=5, affixes=2)


def check(batch, examples, shape):
    rows, length, segments = shape.rows, shape.row_length, shape.max_segments
    assert batch["tokens"].shape == (rows, length) and batch["tokens"].dtype == np.int32
    assert batch["affixes"].shape == (rows, length, 2)
    for key, dtype in (("c", np.int32), ("r", np.float32)):
        assert batch["targets"][key].shape == batch["weights"][key].shape == (rows, segments)
        assert batch["targets"][key].dtype == dtype
        assert batch["weights"][key].dtype == np.float32
    assert batch["targets"]["t"].shape == batch["weights"]["t"].shape == (rows, length)
    found = []
    for row in range(rows):
        numbers = batch["segments"][row]
        used = numbers[numbers > 0]
        # Segments follow one another from 1, padding comes last.
        assert (np.diff(used) >= 0).all() and set(used) == set(range(1, used.max(initial=0) + 1))
        assert (numbers[len(used) :] == 0).all()
        for key in ("tokens", "positions"):
            assert (batch[key][row][numbers == 0] == 0).all()
        assert (batch["weights"]["t"][row][numbers == 0] == 0).all()
        for segment in range(segments):
            at = numbers == segment + 1
            if not at.any():
                assert batch["weights"]["c"][row, segment] == 0
                continue
            ids = batch["tokens"][row][at]
            example = ids[0] // 1000 - 1
            span = slice(examples.starts[example], examples.starts[example + 1])
            np.testing.assert_array_equal(ids, examples.tokens[span])
            np.testing.assert_array_equal(batch["affixes"][row][at], examples.affixes[span])
            np.testing.assert_array_equal(batch["positions"][row][at], np.arange(len(ids)))
            np.testing.assert_array_equal(batch["targets"]["t"][row][at], ids + 1)
            np.testing.assert_array_equal(
                batch["weights"]["t"][row][at], examples.weights["t"][span]
            )
            assert batch["targets"]["c"][row, segment] == example
            assert batch["targets"]["r"][row, segment] == example / 2
            assert batch["weights"]["r"][row, segment] == examples.weights["r"][example]
            found.append(int(example))
    return found


def iterator(seed=0, **options):
    return training_batches({"g": EXAMPLES}, {"g": TASKS}, {"g": SHAPE}, seed, **options)


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
    with pytest.raises(ValueError, match="divided by 3"):
        iterator(shard=(0, 3))


def test_a_batch_of_more_rows_than_there_are_in_an_epoch():
    few = make_examples(np.array([3, 4]))
    shape = Shape(rows=5, row_length=4, max_segments=1, affixes=2)
    batches = training_batches({"g": few}, {"g": TASKS}, {"g": shape}, 0, ahead=0)
    assert sorted(check(next(batches)["g"], few, shape)) in ([0, 0, 0, 1, 1], [0, 0, 1, 1, 1])


@pytest.mark.parametrize("rows", [1, 4, 100])
def test_evaluation_sees_each_example_once(rows):
    shape = Shape(rows=rows, row_length=12, max_segments=5, affixes=2)
    seen, examples = [], []
    for batch in evaluation_batches(EXAMPLES, TASKS, shape):
        found = check(batch, EXAMPLES, shape)
        assert batch["example"].shape == (rows, 5)
        assert sorted(batch["example"][batch["example"] >= 0].tolist()) == sorted(found)
        seen += found
        examples += [example for example, _ in unpack(batch, batch["tokens"])]
    assert sorted(seen) == sorted(examples) == list(range(len(EXAMPLES)))


def test_unpacking():
    for batch in evaluation_batches(EXAMPLES, TASKS, SHAPE):
        logits = np.stack([batch["tokens"], batch["positions"]], -1)
        for example, answer in unpack(batch, logits):
            span = slice(EXAMPLES.starts[example], EXAMPLES.starts[example + 1])
            np.testing.assert_array_equal(answer[:, 0], EXAMPLES.tokens[span])
        for example, answer in unpack(batch, batch["targets"]["c"]):
            assert answer == example


def test_nothing_to_evaluate():
    assert list(evaluation_batches(make_examples(np.zeros(0, int)), TASKS, SHAPE)) == []


@pytest.fixture(scope="module")
def default_data():
    return load_data(DEFAULT_TASKS, row_length=64, batch_tokens=4096, attention=all_causal)


def test_most_of_the_default_batches_is_real(default_data):
    batches = default_data.training_batches(0, ahead=0)
    steps = [next(batches) for _ in range(30)]
    for name in steps[0]:
        real = np.mean([(step[name]["segments"] > 0).mean() for step in steps])
        assert real > 0.95, name
    ids = sum(batch["tokens"].size for batch in steps[0].values())
    assert ids == 4096
