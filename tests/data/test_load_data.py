import json
import sys

import numpy as np
import pytest

from mtljax.data import DataOptions, MixtureSettings, TokenizerSettings, load_data
from mtljax.errors import UserError
from mtljax.tasks import parse_tasks

TASKS = """\
sources:
  reviews: {splits: {train: DIR/train.jsonl, validation: DIR/validation.jsonl}}
tasks:
  stars: {dataset: reviews, kind: classification, inputs: text, targets: label, weights: sure}
  writer: {dataset: reviews, kind: language_model, inputs: text}
"""
ROWS = [
    {"text": f"a {word} film number {i}", "label": word, "sure": 1.0}
    for i, word in enumerate(["good", "bad"] * 20)
]


@pytest.fixture
def tasks(tmp_path):
    """Two tasks over files, and a function that writes them."""

    def write(rows=ROWS, validation=ROWS[:6]):
        for name, content in (("train", rows), ("validation", validation)):
            lines = [row if isinstance(row, str) else json.dumps(row) for row in content]
            (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
        return parse_tasks(TASKS.replace("DIR", str(tmp_path)))

    return write


def load(tasks, cache=None, tokenizer=None, **options):
    said = []
    data = load_data(
        tasks,
        DataOptions(row_length=16, batch_tokens=160, **options),
        tokenizer=tokenizer,
        cache_dir=cache,
        say=said.append,
    )
    assert said == []
    return data


def same(one, two):
    assert one.layout.to_json() == two.layout.to_json()
    assert one.tokenizer.to_json() == two.tokenizer.to_json()
    assert one.skipped_rows == two.skipped_rows and one.skipped_targets == two.skipped_targets
    batches = [data.training_batches(3, ahead=0) for data in (one, two)]
    for _ in range(8):
        np.testing.assert_equal(next(batches[0]), next(batches[1]))
    for group in one.groups:
        for split in one.splits(group.name):
            for pair in zip(
                one.evaluation_batches(group.name, split),
                two.evaluation_batches(group.name, split),
                strict=True,
            ):
                np.testing.assert_equal(*pair)


def entries(cache):
    return sorted(path.name for path in (cache / "examples").iterdir())


def test_from_the_cache_it_is_the_same(tasks, tmp_path, monkeypatch):
    plain, cache = load(tasks()), tmp_path / "cache"
    same(plain, load(tasks(), cache))
    kept = entries(cache)

    # From then on no row is read, only hashed.
    def never(*arguments):
        raise AssertionError("was to come from the cache")

    for name in ("read_examples", "train_tokenizer", "task_output"):
        # The package's `load_data` is the function of that name.
        monkeypatch.setattr(sys.modules["mtljax.data.load_data"], name, never)
    same(plain, load(tasks(), cache))
    assert entries(cache) == kept and len(kept) == 4  # two groups, two splits


def test_other_content_or_settings_have_entries_of_their_own(tasks, tmp_path):
    cache = tmp_path / "cache"
    load(tasks(), cache)
    seen = set(entries(cache))
    changed = [{**ROWS[0], "text": "a good film number X"}, *ROWS[1:]]
    for rows, options in (
        (changed, {}),
        (ROWS, {"tokenizer": TokenizerSettings(kind="bpe", vocab_size=300)}),
        (ROWS, {"bad_rows": "skip"}),
    ):
        same(load(tasks(rows), cache, **options), load(tasks(rows), **options))
        assert len(set(entries(cache)) - seen) == 4
        seen |= set(entries(cache))
    # How groups share the steps is no part of what is tokenised.
    load(tasks(), cache, mixture=MixtureSettings(temperature=3, subset=1))
    assert set(entries(cache)) == seen


def test_rows_that_cannot_be_used_are_counted_cached_or_not(tasks, tmp_path):
    rows = [*ROWS, '{"text": "cut', {**ROWS[0], "sure": -1.0}, {**ROWS[0], "sure": None}]
    with pytest.raises(UserError, match="train.jsonl.*41"):
        load(tasks(rows))
    given = tasks(rows)
    for _ in range(2):
        data = load(given, tmp_path / "cache", bad_rows="skip")
        assert data.skipped_rows == {"reviews": {"train": 1}}
        assert data.skipped_targets == {"stars": {"train": 2}}
    stars = data.layout.group_of("stars").name
    weights = data.examples[stars]["train"].weights["stars"]
    assert weights.tolist() == [1.0] * 40 + [0.0] * 2


def test_a_weight_that_cannot_be_used_stops_with_its_row(tasks):
    rows = [*ROWS[:-1], {**ROWS[0], "sure": -1.0}]
    with pytest.raises(
        UserError, match="task 'stars'.*'reviews'.*'train', row 39 .*, line 40.: weight -1.0"
    ):
        load(tasks(rows))


def test_epochs_of_a_mixture(tasks):
    data = load(tasks(), mixture=MixtureSettings(rates="equal"))
    schedule = data.schedule(steps=100, seed=0)
    rows = data.stages[0]
    for task, passes in data.epochs(schedule, 30).items():
        group = data.layout.group_of(task).name
        assert passes == 30 * rows[group] / data.plans[group].num_rows
    assert data.rates() == {name: 0.5 for name in rows}
