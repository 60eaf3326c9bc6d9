"""Renaming against its definition, text by text and word by word."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtljax.data import DataOptions, Shape, TokenizerSettings, load_data
from mtljax.data.batching.group_schedule import AllGroups
from mtljax.data.batching.row_order import plan_rows
from mtljax.data.batching.training_batches import Stream, training_batches
from mtljax.data.batching.word_renaming import Renaming, rename
from mtljax.data.encoding.examples import Examples
from mtljax.special_tokens import END, SPECIALS
from mtljax.tasks import Dataset, Task

VOCABULARY = 40
WORDS = np.arange(len(SPECIALS), VOCABULARY)
TASK = Task("t", "d", "text_to_text", "x", "y")
CLASSES = np.random.default_rng(0).permutation(VOCABULARY).astype(np.int32)


def make_examples(count=30, seed=0):
    """Texts ``<s> source </s> answer`` of few words, so that many are in both parts."""
    rng = np.random.default_rng(seed)
    tokens, lengths, weights = [], [], []
    for _ in range(count):
        source, answer = (rng.choice(WORDS[:12], rng.integers(0, 6)) for _ in range(2))
        tokens += [2, *source, END, *answer]
        lengths.append(2 + len(source) + len(answer))
        weights += [0.0] * (1 + len(source)) + [0.5] * (1 + len(answer))
    ids = np.asarray(tokens, np.int32)
    targets = np.append(CLASSES[ids[1:]], 0)
    ends = np.cumsum(lengths)
    targets[ends - 1] = 1
    weights = np.asarray(weights, np.float32)
    return Examples(
        tokens=ids,
        affixes=np.stack([ids, ids], 1),
        starts=np.concatenate([[0], ends]),
        rows=np.arange(count, dtype=np.int32),
        targets={"t": np.where(weights > 0, targets, 0).astype(np.int32)},
        weights={"t": weights},
    )


EXAMPLES = make_examples()
SHAPE = Shape(rows=4, row_length=24, max_segments=6, affixes=2)


def batches(renaming, seed=0, **options):
    plan = plan_rows(EXAMPLES, SHAPE.row_length, SHAPE.max_segments)
    streams = {"g": Stream(EXAMPLES, plan, (TASK,), SHAPE, renaming)}
    schedule = AllGroups([{"g": SHAPE.rows}], steps=1)
    return training_batches(streams, schedule, seed, ahead=0, **options)


def texts(batch):
    """Row, and the positions of each text, with the number of ids up to the answer."""
    for row, numbers in enumerate(batch["segments"]):
        for text in range(1, numbers.max() + 1):
            at = np.flatnonzero(numbers == text)
            yield row, at, int(np.argmax(batch["tokens"][row][at] == END)) + 1


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_shared_words_are_renamed_alike_and_nothing_else(rate):
    plain, renamed = batches(None), batches(Renaming(rate, CLASSES, WORDS))
    shared_words = changed_words = 0
    for _ in range(40):
        before, after = next(plain)["g"], next(renamed)["g"]
        for name in ("segments", "positions"):
            np.testing.assert_array_equal(after[name], before[name])
        np.testing.assert_array_equal(after["weights"]["t"], before["weights"]["t"])
        assert after["tokens"].dtype == after["targets"]["t"].dtype == np.int32
        for row, at, begin in texts(before):
            old, new = before["tokens"][row][at].tolist(), after["tokens"][row][at].tolist()
            names = dict(zip(old, new, strict=True))
            assert [names[word] for word in old] == new  # one name for each word
            shared = set(old[:begin]) & set(old[begin:]) - {*range(len(SPECIALS))}
            changed = {word for word, name in names.items() if name != word}
            assert changed <= shared
            assert set(new) <= set(old) | set(WORDS.tolist())
            shared_words, changed_words = shared_words + len(shared), changed_words + len(changed)
            wanted = [*CLASSES[new[begin:]], 1]
            np.testing.assert_array_equal(after["targets"]["t"][row][at][begin - 1 :], wanted)
            assert not after["targets"]["t"][row][at][: begin - 1].any()
            # Affixes are copies of the id here; a word may be renamed as itself.
            affixes = after["affixes"][row][at][:, 0]
            wanted = [0 if word in changed else word for word in old]
            assert all(a in (0, w) for a, w in zip(affixes, wanted, strict=True))
    # A name is drawn from all words, so that 1 in 36 is the word itself.
    expected = rate * shared_words * (1 - 1 / len(WORDS))
    assert shared_words > 200
    assert abs(changed_words - expected) <= 4 * np.sqrt(shared_words) * (rate > 0)


def test_what_predicts_nothing_is_not_renamed():
    batch = next(batches(None))["g"]
    batch["weights"]["t"][:] = 0
    renaming = Renaming(1.0, CLASSES, WORDS)
    np.testing.assert_equal(rename(batch, renaming, [[0]] * SHAPE.rows), batch)


@given(seed=st.integers(0, 2**34), position=st.integers(0, 30))
@settings(max_examples=20, deadline=None)
def test_names_depend_on_seed_and_row_alone(seed, position):
    renaming = Renaming(0.5, CLASSES, WORDS)
    whole = batches(renaming, seed)
    for _ in range(position):
        next(whole)
    expected = next(whole)["g"]
    shards = [batches(renaming, seed, shard=(i, 2)) for i in range(2)]
    for shard in shards:
        shard.set_state({"next_index": position})
    first, second = (next(shard)["g"] for shard in shards)
    for name in ("tokens", "affixes"):
        np.testing.assert_array_equal(np.concatenate([first[name], second[name]]), expected[name])
    other = batches(renaming, seed + 1)
    other.set_state({"next_index": position})
    assert (next(other)["g"]["tokens"] != expected["tokens"]).any()


def test_a_group_that_sits_a_step_out_is_left_empty():
    plan = plan_rows(EXAMPLES, SHAPE.row_length, SHAPE.max_segments)
    stream = Stream(EXAMPLES, plan, (TASK,), SHAPE, Renaming(1.0, CLASSES, WORDS))
    steps = training_batches({"g": stream}, AllGroups([{"g": 0}], steps=1), 0, ahead=0)
    assert not next(steps)["g"]["tokens"].any()


def test_of_a_task_its_training_batches_alone_are_renamed(tmp_path):
    rows = [{"q": f"name {name}", "a": f"this is {name}"} for name in "abcdefgh"]
    for split in ("train", "validation"):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{split}.jsonl").write_text(lines)
    splits = (("train", "train.jsonl"), ("validation", "validation.jsonl"))
    source = Dataset("d", path=str(tmp_path), splits=splits)
    task = Task("t", "d", "text_to_text", "q", "a", rename_words=1.0, sources=(source,))
    settings = TokenizerSettings(prefixes=(), suffixes=(), shape=False, min_count=1)
    data = load_data([task], DataOptions(row_length=8, batch_tokens=64), tokenizer=settings)
    classes = data.outputs["t"].class_of_id(data.layout.vocab_size)

    def names(batch):
        """The last word of each answer, which ends the source too, as its class says."""
        tokens, wanted = batch["tokens"], batch["targets"]["t"]
        last = (batch["segments"] > 0).sum(1) - 1
        rows = np.arange(len(tokens))
        np.testing.assert_array_equal(tokens[rows, last], tokens[rows, 2])
        np.testing.assert_array_equal(classes[tokens[rows, last]], wanted[rows, last - 1])
        return [data.tokenizer.pieces[i] for i in tokens[rows, last]]

    (evaluated,) = data.evaluation_batches(data.groups[0].name, "train")
    assert sorted(names(evaluated)) == list("abcdefgh")
    steps, kept = data.training_batches(0), data.training_batches(0, split="validation")
    found = [name for _ in range(20) for name in names(next(steps)[data.groups[0].name])]
    assert set(found) == {*"abcdefgh", "this", "is"}  # whatever is an answer's word
    assert sorted(names(next(kept)[data.groups[0].name])) == list("abcdefgh")
