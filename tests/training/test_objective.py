import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.errors import UserError
from mtljax.kinds import KINDS
from mtljax.modules import DecoderConfig, Readout, encode, predict
from mtljax.presets import Config, RegularizerConfig
from mtljax.tasks import Task
from mtljax.training.check_config import check_penalty
from mtljax.training.evaluation import Evaluator
from mtljax.training.model import attention_of, build_model, compute_dtype
from mtljax.training.objective import alike_heads, element_losses, heads_correlation, penalty
from mtljax.training.objectives.model_objectives import model_objectives, present_tasks
from tests.tiny_models import random_params

S = np.array([[0.5, -1.0, 2.0], [0.1, 0.2, -0.3], [-2.0, 1.5, 1.0]], np.float32)
Z = S[:, :1]
Y = np.array([2, 0, 1])
BIT = np.array([1, 0, 0])
REAL = np.array([0.7, -2.5, 0.0], np.float32)
ONE_HOT = np.eye(3)[Y]
SIGN = 2 * BIT - 1


def log_softmax(x):
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def cross_entropy(z, t):
    t = np.asarray(t, np.float64)
    return -t * np.log(1 / (1 + np.exp(-z))) - (1 - t) * np.log(1 / (1 + np.exp(z)))


ERROR = Z[:, 0] - REAL
SETS = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1]], np.uint8)
RIVAL = np.where(ONE_HOT, -np.inf, S).max(-1)
CASES = {
    "softmax": ("classification", "softmax", 0.0, S, Y, -log_softmax(S)[range(3), Y]),
    "smoothed softmax": ("classification", None, 0.1, S, Y,
                         -(0.9 * ONE_HOT + 0.1 / 3) @ log_softmax(S).T @ np.eye(3)),
    "tags": ("tagging", None, 0.0, S, Y, -log_softmax(S)[range(3), Y]),
    "sigmoid": ("classification", "sigmoid", 0.0, Z, BIT, cross_entropy(Z[:, 0], BIT)),
    "logistic": ("classification", "logistic", 0.0, Z, BIT, cross_entropy(Z[:, 0], BIT)),
    "smoothed sigmoid": ("classification", "sigmoid", 0.2, Z, BIT,
                         cross_entropy(Z[:, 0], 0.8 * BIT + 0.1)),
    "hinge": ("classification", "hinge", 0.0, Z, BIT, np.maximum(0, 1 - SIGN * Z[:, 0])),
    "squared": ("classification", "squared", 0.0, Z, BIT, (Z[:, 0] - SIGN) ** 2),
    "sigmoid each": ("classification", "sigmoid", 0.0, S, Y, cross_entropy(S, ONE_HOT).sum(-1)),
    "hinge of many": ("classification", "hinge", 0.0, S, Y,
                      np.maximum(0, 1 + RIVAL - S[range(3), Y])),
    "squared of many": ("classification", "squared", 0.0, S, Y,
                        ((S - (2 * ONE_HOT - 1)) ** 2).mean(-1)),
    "label sets": ("multilabel", None, 0.0, S, SETS, cross_entropy(S, SETS).mean(-1)),
    "smoothed label sets": ("multilabel", "sigmoid", 0.2, S, SETS,
                            cross_entropy(S, 0.8 * SETS + 0.1).mean(-1)),
    "one label": ("multilabel", None, 0.0, Z, SETS[:, :1], cross_entropy(Z, SETS[:, :1])[:, 0]),
    "regression": ("regression", None, 0.0, Z, REAL, ERROR**2),
    "absolute": ("regression", "absolute", 0.0, Z, REAL, np.abs(ERROR)),
    "huber": ("regression", "huber", 0.0, Z, REAL,
              np.where(np.abs(ERROR) < 1, ERROR**2 / 2, np.abs(ERROR) - 0.5)),
}  # fmt: skip
CASES["smoothed softmax"] = (*CASES["smoothed softmax"][:-1],
                             -((0.9 * ONE_HOT + 0.1 / 3) * log_softmax(S)).sum(-1))  # fmt: skip


@pytest.mark.parametrize("wrap", [lambda f, **k: f, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("name", CASES)
def test_element_losses(name, wrap):
    kind, loss, smoothing, predictions, targets, expected = CASES[name]
    task = Task("t", "d", kind, "x", "y", loss=loss, label_smoothing=smoothing)
    found = wrap(element_losses, static_argnums=0)(task, predictions, targets)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)
    assert found.dtype == jnp.float32


@pytest.mark.parametrize("name", [n for n in CASES if CASES[n][0] not in ("regression",)])
def test_class_weights_multiply_the_loss(name):
    kind, loss, smoothing, predictions, targets, expected = CASES[name]
    task = Task("t", "d", kind, "x", "y", loss=loss, label_smoothing=smoothing)
    weights = np.array([0.5, 3.0, 0.0])
    count = max(targets.max() + 1, predictions.shape[-1])
    found = element_losses(task, predictions, targets, tuple(weights[:count].tolist()))
    if kind == "multilabel":
        smoothed = (1 - smoothing) * targets + smoothing / 2
        expected = (cross_entropy(predictions, smoothed) * weights[:count]).mean(-1)
    else:
        expected = expected * weights[targets]
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)


def test_class_weights_are_of_training_alone(make, tasks, plain):
    weights = {"a": 2.0, "c": 0.25}
    chosen = (dataclasses.replace(tasks["grade"], class_weights=weights),)
    encoder = dataclasses.replace(plain.encoder, kind="linear", ngram_buckets=32)
    plain = dataclasses.replace(plain, encoder=encoder)
    model, data = make(plain, chosen)
    params = random_params(model)
    batch = next(data.training_batches(0))
    rows = batch["tiny"]
    count = model.layout.shapes["tiny"].max_segments

    @jax.jit
    def read(params, batch):
        features = encode(model.network, params["shared"], "tiny", batch["tiny"])
        out = predict(model.network, params["heads"]["grade"], "grade", features, count)
        return model_objectives(model).losses(params, batch, None)[0], out

    found, out = map(np.asarray, read(params, batch))
    targets, alpha = rows["targets"]["grade"], rows["weights"]["grade"]
    losses = -np.take_along_axis(log_softmax(out), targets[..., None], -1)[..., 0]
    weighed = losses * np.array([2.0, 1.0, 0.25])[targets]
    np.testing.assert_allclose(found, (alpha * weighed).sum() / alpha.sum(), rtol=1e-5)
    plainly, _ = make(plain, (tasks["grade"],))
    evaluated = [Evaluator(one, data)(params, "validation") for one in (model, plainly)]
    assert evaluated[0] == evaluated[1]


@pytest.mark.parametrize(
    "loss, classes, expected",
    [("softmax", 2, 2), ("sigmoid", 2, 1), ("hinge", 2, 1), ("hinge", 3, 3)],
)
def test_two_classes_need_one_logit(loss, classes, expected):
    assert KINDS["classification"].head_outputs(loss, classes) == expected


def test_losses_are_weighted_means_over_targets(make, tasks, plain):
    names = ("label", "tags", "grade", "next", "number", "sets", "pair", "reply")
    chosen = tuple(tasks[name] for name in names)
    model, data = make(plain, chosen)
    batch = next(data.training_batches(0))
    params = random_params(model)

    @jax.jit
    def read(params, batch):
        # A key that drops nothing: the rates are 0. The order of the sums is all that differs.
        losses, out = model_objectives(model).losses(params, batch, jax.random.key(1)), {}
        for group in model.layout.groups:
            features = encode(model.network, params["shared"], group.name, batch[group.name])
            count = model.layout.shapes[group.name].max_segments
            for task in group.tasks:
                head = params["heads"][task.name]
                said = predict(model.network, head, task.name, features, count)
                out[task.name] = said.logits() if isinstance(said, Readout) else said
        return losses, out

    found, outputs = jax.device_get(read(params, batch))
    assert [t.name for t in model.tasks] == [t.name for t in chosen]
    for task, value in zip(chosen, found, strict=True):
        group = model.layout.group_of(task.name).name
        rows = batch[group]
        out = outputs[task.name]
        targets, weights = rows["targets"][task.name], rows["weights"][task.name]
        if task.kind == "regression":
            losses = (out[..., 0] - targets) ** 2
        elif task.kind == "multilabel":
            losses = cross_entropy(out, targets).mean(-1)
        else:
            losses = -np.take_along_axis(log_softmax(out), targets[..., None], -1)[..., 0]
        np.testing.assert_allclose(value, (losses * weights).sum() / weights.sum(), rtol=1e-4)
    grades = batch["tiny"]["weights"]["grade"]
    assert len(np.unique(grades)) > 3  # samples have weights of their own
    assert present_tasks(model, batch).all()


def test_penalty():
    params = {"shared": {"embedding": {"words": jnp.array([[3.0, 4.0], [0.0, 0.0]])}},
              "heads": {"a": {"kernel": jnp.array([[1.0, 2.0]])}}}  # fmt: skip
    assert penalty(RegularizerConfig(), params) == 0
    assert penalty(RegularizerConfig(l2=0.5), params) == pytest.approx(0.5 * 2.5)
    lasso = penalty(RegularizerConfig(group_lasso=2.0), params)
    assert lasso == pytest.approx(2 * np.sqrt(2) * 5) or lasso == pytest.approx(2 * 5)
    both = RegularizerConfig(l2=0.5, group_lasso=2.0)
    np.testing.assert_allclose(penalty(both, params), 0.5 * 2.5 + float(lasso), rtol=1e-6)
    assert penalty(RegularizerConfig(l1=0.5), params) == pytest.approx(0.5 * 3)


def test_heads_of_the_same_classes_are_drawn_together(make, tasks):
    """Half the squared distances from the mean, of two heads of three."""
    words = dataclasses.replace(tasks["label"], name="words", inputs="words")
    model, _ = make(tasks=(tasks["label"], words, tasks["grade"]))
    params = random_params(model)
    one, two = (params["heads"][name]["out"] for name in ("label", "words"))
    expected = sum(np.sum((one[name] - two[name]) ** 2) / 4 for name in ("kernel", "bias"))
    assert alike_heads(model) == [["label", "words"]]
    config = RegularizerConfig(heads_together=3.0)
    found = penalty(config, params, alike_heads(model))
    np.testing.assert_allclose(found, 3 * expected, rtol=1e-5)
    config = dataclasses.replace(Config(), regularizer=config)
    model, _ = make(tasks=(tasks["label"], tasks["grade"]))
    with pytest.raises(UserError, match=r"regularizer.heads_together: no two tasks"):
        check_penalty(config, model)


def test_a_relation_of_heads_is_learned_and_reported(make, tasks):
    words = dataclasses.replace(tasks["label"], name="words", inputs="words")
    model, _ = make(tasks=(tasks["label"], words, tasks["grade"]))
    params = random_params(model)
    params["heads"]["words"] = jax.tree.map(lambda w: -2 * w, params["heads"]["label"])
    rows = np.stack([
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params["heads"][name])])
        for name in ("label", "words")
    ])  # fmt: skip
    expected = 3 * np.linalg.svd(rows, compute_uv=False).sum() ** 2 / 2
    found = penalty(RegularizerConfig(heads_relation=3.0), params, alike_heads(model))
    np.testing.assert_allclose(found, expected, rtol=5e-3)  # of rank one, to the root of 1e-6
    learned = heads_correlation(model, params)
    assert learned["tasks"] == ["label", "words"]
    np.testing.assert_allclose(learned["correlation"], [[1, -1], [-1, 1]], atol=1e-4)


def test_a_proximal_penalty_has_no_gradient_besides():
    params = {"shared": {"embedding": {"words": jnp.ones((2, 2))}}, "kernel": jnp.ones(2)}
    config = RegularizerConfig(l2=0.5, l1=2.0, group_lasso=1.0)
    proximal = dataclasses.replace(config, proximal=True)
    assert penalty(proximal, params) == penalty(config, params)
    gradient = jax.grad(lambda params: penalty(proximal, params))(params)
    np.testing.assert_array_equal(gradient["shared"]["embedding"]["words"], 0)
    np.testing.assert_array_equal(gradient["kernel"], 0.5)


@pytest.mark.parametrize(
    "kind, setting, with_model, expected",
    [
        ("lstm", "auto", True, ["causal", "causal"]),
        ("lstm", "auto", False, ["bidirectional"]),
        ("lstm", "no", False, ["causal"]),
        ("lstm", "yes", False, ["bidirectional"]),
        ("transformer", "auto", True, ["bidirectional", "causal"]),
        ("linear", "auto", True, ["bidirectional", "causal"]),
    ],
)
def test_attention_of(kind, setting, with_model, expected, tasks):
    chosen = (tasks["label"], tasks["next"]) if with_model else (tasks["label"],)
    config = Config()
    encoder = dataclasses.replace(config.encoder, kind=kind, bidirectional=setting)
    attention = attention_of(dataclasses.replace(config, encoder=encoder), chosen)
    assert [attention(task) for task in chosen] == expected


@pytest.mark.parametrize(
    "kind, setting, layers, names, expected",
    [
        ("transformer", "auto", 0, ("label", "next", "reply"), "bidirectional causal prefix"),
        ("transformer", "auto", 1, ("label", "next", "reply"), "bidirectional causal separate"),
        ("lstm", "auto", 0, ("label", "reply"), "causal causal"),
        ("lstm", "auto", 1, ("label", "reply"), "bidirectional separate"),
        ("lstm", "auto", 1, ("label", "next", "reply"), "causal causal separate"),
        ("lstm", "yes", 1, ("label", "reply"), "bidirectional separate"),
        ("lstm", "no", 1, ("label", "reply"), "causal separate"),
        ("linear", "auto", 0, ("label", "reply"), "bidirectional causal"),
        ("linear", "auto", 1, ("label", "reply"), "bidirectional separate"),
    ],
)
def test_attention_of_text_to_text(kind, setting, layers, names, expected, tasks):
    chosen = tuple(tasks[name] for name in names)
    encoder = dataclasses.replace(Config().encoder, kind=kind, bidirectional=setting)
    config = dataclasses.replace(Config(), encoder=encoder, decoder=DecoderConfig(layers=layers))
    assert " ".join(map(attention_of(config, chosen), chosen)) == expected


def test_only_a_decoder_lets_an_lstm_read_what_is_answered_both_ways(tasks):
    encoder = dataclasses.replace(Config().encoder, bidirectional="yes")
    config = dataclasses.replace(Config(), encoder=encoder)
    with pytest.raises(UserError, match="encoder.bidirectional: .* text to text 'reply'"):
        attention_of(config, (tasks["reply"],))
    config = dataclasses.replace(config, decoder=DecoderConfig(layers=1))
    with pytest.raises(UserError, match="encoder.bidirectional: .* language model 'next'"):
        attention_of(config, (tasks["reply"], tasks["next"]))


def test_a_language_model_cannot_be_read_both_ways(tasks):
    encoder = dataclasses.replace(Config().encoder, bidirectional="yes")
    with pytest.raises(UserError, match="encoder.bidirectional: .* language model 'next'"):
        attention_of(dataclasses.replace(Config(), encoder=encoder), (tasks["next"],))


def test_negatives_are_for_larger_vocabularies(make, tasks, config):
    model, data = make(config, (tasks["next"],))
    assert set(model.proposals) == {"next"}
    few = dataclasses.replace(config, heads=dataclasses.replace(config.heads, negatives=10_000))
    assert not build_model(few, data.layout, {"next": np.ones(26, int)}).proposals


@pytest.mark.parametrize(
    "name, dtype", [("auto", "float32"), ("bfloat16", "bfloat16"), ("float32", "float32")]
)
def test_compute_dtype(name, dtype):
    assert compute_dtype(dataclasses.replace(Config(), dtype=name)) == jnp.dtype(dtype)
