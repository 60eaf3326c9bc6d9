"""Examples of which each id, target and weight tells where it comes from, and batches of them."""

import numpy as np

from mtljax.data import Shape
from mtljax.data.batching.group_schedule import AllGroups
from mtljax.data.batching.row_order import plan_rows
from mtljax.data.batching.training_batches import Stream, training_batches
from mtljax.data.encoding.examples import Examples
from mtljax.tasks import Task

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


def batches_of(examples, shape, seed=0, schedule=None, **options):
    """Training batches of one group."""
    plan = plan_rows(examples, shape.row_length, shape.max_segments)
    schedule = schedule or AllGroups([{"g": shape.rows}], steps=1)
    return training_batches({"g": Stream(examples, plan, TASKS, shape)}, schedule, seed, **options)
