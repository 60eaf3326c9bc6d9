"""Tags that are chosen text by text: training, evaluation and predictions agree on them."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import losses, metrics
from mtljax.data import TokenizerSettings, input_batches
from mtljax.errors import UserError
from mtljax.export.functions import exported_functions
from mtljax.modules import TagScores, encode, predict
from mtljax.training.evaluation import Evaluator
from mtljax.training.objective import element_losses
from tests.export.runs import untrained
from tests.tiny_models import CLASSES


def legal(tags):
    """Whether every I-x goes on with an x."""
    return all(now[0] != "I" or before[1:] == now[1:] for before, now in itertools.pairwise(tags))


# But for the loss, tags are constrained by the same code with and without a field.
@pytest.mark.parametrize(
    ("pieces", "how"),
    [("words", {"loss": "crf"}), ("bpe", {"loss": "crf"}), ("bpe", {"constrained": True})],
)
def test_evaluation_counts_the_best_legal_tags_that_predict_answers(
    make, unaveraged, tasks, source, pieces, how
):
    settings = TokenizerSettings(kind=pieces, vocab_size=262, min_count=1)
    if pieces == "words":
        settings = unaveraged.tokenizer
    config = dataclasses.replace(unaveraged, tokenizer=settings)
    task = dataclasses.replace(tasks["tags"], **how)
    run = untrained(make, config, (task,))
    rows = source.splits["test"]
    answers = [answer["tags"]["tags"] for answer in run.predict([row["words"] for row in rows])]
    assert all(legal(["O", *tags]) for tags in answers)

    # All sequences of a text of three words, by the scores that the head gives.
    words = next(row["words"] for row in rows if len(row["words"]) == 3)
    (group,) = run.layout.groups
    batch = next(input_batches([words], group.name, run.layout, run.tokenizer))

    @jax.jit
    def read(params, batch):
        features = encode(run.model.network, params["shared"], group.name, batch)
        return predict(run.model.network, params["heads"]["tags"], "tags", features, 1)

    found = read(run.params, {k: v for k, v in batch.items() if isinstance(v, np.ndarray)})
    assert isinstance(found, TagScores)
    at = np.flatnonzero(run.tokenizer.encode([words]).words >= 0)
    np.testing.assert_array_equal(np.flatnonzero(found.texts[0]), at)
    scores = np.asarray(found.scores)[0, at]

    def total(path):
        steps = sum(found.between[pair] for pair in itertools.pairwise(path))
        return scores[range(3), path].sum() + steps + found.start[path[0]] + found.end[path[-1]]

    paths = itertools.product(range(len(CLASSES)), repeat=3)
    best = max((p for p in paths if legal(["O", *(CLASSES[i] for i in p)])), key=total)
    assert answers[[row["words"] for row in rows].index(words)] == [CLASSES[i] for i in best]

    _, data = make(config, (task,))
    measured = Evaluator(run.model, data)(run.params, "test")["tags"]
    labels = [[CLASSES[tag] for tag in row["tags"]] for row in rows]
    f1 = metrics.compute(metrics.span_f1(answers, labels, "bio", CLASSES))
    assert measured["span_f1"] == pytest.approx(float(f1))
    right = np.concatenate(answers) == np.concatenate(labels)
    assert measured["accuracy"] == pytest.approx(right.mean())
    if pieces == "bpe" and "loss" in how:
        with pytest.raises(UserError, match="several pieces"):
            exported_functions(run.model, np.zeros((1, 0), np.int32), ["tags"], 1)


def test_targets_without_weight_are_summed_over(tasks):
    task = dataclasses.replace(tasks["tags"], loss="crf")
    rng = np.random.default_rng(0)
    shapes = (1, 6, 5), (5, 5), (5,), (5,)
    texts = np.array([[0, 1, 1, 1, 1, 1]])
    scores = TagScores(*(jnp.asarray(rng.normal(size=s), jnp.float32) for s in shapes), texts)
    targets, weights = np.array([[0, 1, 2, 3, 0, 0]]), np.array([[0, 1, 0, 2, 1, 0.0]])
    values = element_losses(task, scores, targets, weights=weights)
    known = np.where(weights > 0, targets, -1)
    transitions = losses.Transitions(*scores[1:4])
    np.testing.assert_array_equal(values, losses.crf(scores.scores, known, texts, transitions))
    # Weights of classes are those of the targets, as for a softmax.
    twice = element_losses(task, scores, targets, (1, 2, 1, 1, 1), weights)
    np.testing.assert_allclose(twice, values * np.where(targets == 1, 2, 1), rtol=1e-6)
