import dataclasses

import jax
import numpy as np
import pytest
from sklearn.metrics import f1_score

from mtljax.data import Feature, unpack
from mtljax.kinds import Output
from mtljax.metrics import compute, span_f1
from mtljax.modules import DecoderConfig, Readout, encode, predict
from mtljax.tasks import Task
from mtljax.training.evaluation import PLAIN_WORDS, Evaluator, predicted_targets, score
from tests.tiny_models import random_params


@pytest.fixture
def linear(plain):
    """Of the encoder whose programs compile in a third of the time."""
    encoder = dataclasses.replace(plain.encoder, kind="linear", ngram_buckets=32)
    return dataclasses.replace(plain, encoder=encoder)


@pytest.fixture
def trained(make, plain):
    model, data = make(plain)
    # So large that no answer is a matter of rounding.
    return model, data, random_params(model, 1.0)


def one_by_one(model, data, params, group, split, hide_affixes=False):
    """Each example alone in its row: task to a list of (outputs, targets, weights)."""
    examples = data.examples[group][split]
    shape = model.layout.shapes[group]
    count = len(examples)
    rows = {name: np.zeros((count, shape.row_length), np.int32) for name in ("tokens", "segments")}
    rows["affixes"] = np.zeros((count, shape.row_length, shape.affixes), np.int32)
    rows["positions"] = np.tile(np.arange(shape.row_length, dtype=np.int32), (count, 1))
    spans = [slice(a, b) for a, b in zip(examples.starts, examples.starts[1:], strict=False)]
    for row, span in enumerate(spans):
        length = span.stop - span.start
        rows["tokens"][row, :length] = examples.tokens[span]
        rows["affixes"][row, :length] = examples.affixes[span]
        rows["segments"][row, :length] = 1
    if hide_affixes:
        rows["affixes"][rows["tokens"] == 1] = 0

    @jax.jit
    def run(params):
        features = encode(model.network, params["shared"], group, rows)
        heads = {}
        for task in model.layout.group(group).tasks:
            out = predict(model.network, params["heads"][task.name], task.name, features, 1)
            heads[task.name] = out.logits() if isinstance(out, Readout) else out
        return heads

    found = {}
    for name, out in run(params).items():
        per_token = out.shape[1] == shape.row_length
        targets, weights = examples.targets[name], examples.weights[name]
        found[name] = [
            (out[row, : span.stop - span.start], targets[span], weights[span])
            if per_token
            else (out[row], targets[row : row + 1], weights[row : row + 1])
            for row, span in enumerate(spans)
        ]
        found[name] = [tuple(np.asarray(x) for x in triple) for triple in found[name]]
    return found


def mean(values, weights):
    values, weights = np.concatenate(values), np.concatenate(weights)
    return (values * weights).sum() / weights.sum()


def negative_log_likelihoods(triples):
    values = []
    for out, targets, _ in triples:
        logs = out - np.log(np.exp(out - out.max(-1, keepdims=True)).sum(-1, keepdims=True))
        logs = logs - out.max(-1, keepdims=True)
        values.append(-np.take_along_axis(logs, targets[:, None], 1)[:, 0])
    return values


def bio_spans(tags):
    """Spans as (type, first, last), by extending each beginning."""
    found = set()
    for i, tag in enumerate(tags):
        kind = tag[2:]
        continues = i and tags[i - 1] in (f"B-{kind}", f"I-{kind}")
        if tag == "O" or (tag[0] == "I" and continues):
            continue
        end = i
        while end + 1 < len(tags) and tags[end + 1] == f"I-{kind}":
            end += 1
        found.add((kind, i, end))
    return found


@pytest.mark.parametrize("split", ["validation", "test"])
def test_metrics_are_those_of_the_examples_one_by_one(trained, split):
    model, data, params = trained
    found = Evaluator(model, data)(params, split, full=True)
    assert list(found) == [task.name for task in model.tasks]
    triples = {}
    for group in model.layout.groups:
        triples |= one_by_one(model, data, params, group.name, split)

    weights = {name: [w for _, _, w in all_] for name, all_ in triples.items()}
    hits = {
        name: [(out.argmax(-1) == targets).astype(float) for out, targets, _ in triples[name]]
        for name in ("label", "tags")
    }
    deviation = data.outputs["number"].deviation
    assert deviation != 1
    errors = [(out[:, 0] - targets) ** 2 for out, targets, _ in triples["number"]]
    spans = [
        [bio_spans([model.layout.outputs["tags"].classes[t] for t in tags[w > 0]])
         for tags in (out.argmax(-1), targets)]
        for out, targets, w in triples["tags"]
    ]  # fmt: skip
    right = sum(len(a & b) for a, b in spans)
    total = sum(len(a) + len(b) for a, b in spans)
    likelihoods = {n: negative_log_likelihoods(triples[n]) for n in ("label", "tags", "next")}
    losses = {n: mean(values, weights[n]) for n, values in likelihoods.items()}
    expected = {
        "label": {"accuracy": mean(hits["label"], weights["label"]), "loss": losses["label"]},
        "tags": {
            "accuracy": mean(hits["tags"], weights["tags"]),
            "span_f1": 2 * right / total,
            "loss": losses["tags"],
        },
        "next": {"perplexity": np.exp(losses["next"]), "loss": losses["next"]},
        "number": {"mean_squared_error": deviation**2 * mean(errors, weights["number"]),
                   "loss": mean(errors, weights["number"])},
    }  # fmt: skip
    hidden = one_by_one(model, data, params, "tiny", split, hide_affixes=True)["next"]
    plain = np.exp(mean(negative_log_likelihoods(hidden), weights["next"]))
    expected["next"][PLAIN_WORDS] = plain
    texts = [row["text"] for row in data.sources["tiny"].splits[split]]
    total = losses["next"] * sum(len(text.split()) + 1 for text in texts)
    expected["next"]["perplexity_per_word"] = np.exp(total / sum(len(t.split()) for t in texts))
    expected["next"]["bits_per_byte"] = total / np.log(2) / sum(map(len, texts))
    assert 0 < np.sum(np.concatenate(weights["label"])) < len(weights["label"])  # some have none
    for task, values in expected.items():
        assert set(found[task]) == set(values)
        for name, value in values.items():
            np.testing.assert_allclose(
                found[task][name], value, rtol=2e-4, err_msg=f"{task} {name}"
            )


def test_spans_are_counted_by_the_scheme(make, linear, tasks, source, monkeypatch):
    names = ("O", "B-x", "I-x", "E-x", "S-x")
    renamed = {**source.features, "tags": Feature("tags", names)}
    changed = dataclasses.replace(source, features=renamed)
    monkeypatch.setattr(
        "mtljax.data.catalogue.load_sources.load_source", lambda name, data_dir, **_: changed
    )
    model, data = make(linear, (tasks["tags"],))
    params = random_params(model, 1.0)
    found = Evaluator(model, data)(params, "validation")["tags"]
    (triples,) = one_by_one(model, data, params, "tiny", "validation").values()
    answers, labels = (
        [[names[t] for t in tags[w > 0]] for tags, w in pairs]
        for pairs in zip(*[((o.argmax(-1), w), (t, w)) for o, t, w in triples], strict=True)
    )
    expected = compute(span_f1(answers, labels, "bioes"))
    assert 0 < expected < 1
    assert found["span_f1"] == pytest.approx(float(expected))


@pytest.mark.parametrize(
    "metrics", [("micro_f1",), ("accuracy", "loss"), ("loss",)], ids=lambda m: "+".join(m)
)
def test_metrics_that_a_task_names(make, linear, tasks, metrics):
    task = dataclasses.replace(tasks["tags"], metrics=metrics)
    model, data = make(linear, (task,))
    params = random_params(model)
    found = Evaluator(model, data)(params, "validation")["tags"]
    assert set(found) == {*metrics, "loss"}
    if "micro_f1" in metrics:
        (triples,) = one_by_one(model, data, params, "tiny", "validation").values()
        said = np.concatenate([out.argmax(-1)[w > 0] for out, _, w in triples])
        truth = np.concatenate([targets[w > 0] for _, targets, w in triples])
        right = ((said == truth) & (truth != 0)).sum()
        expected = 2 * right / ((said != 0).sum() + (truth != 0).sum())
        np.testing.assert_allclose(found["micro_f1"], expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ["linear", "lstm", "transformer"])
def test_metrics_of_label_sets(make, plain, tasks, kind):
    every = ("micro_f1", "macro_f1", "exact_match", "loss")
    chosen = (tasks["label"], dataclasses.replace(tasks["sets"], metrics=every))
    encoder = dataclasses.replace(plain.encoder, kind=kind, heads=2, feed_forward=8)
    model, data = make(dataclasses.replace(plain, encoder=encoder), chosen)
    params = random_params(model, 1.0)
    found = Evaluator(model, data)(params, "validation")["sets"]
    assert set(found) == set(every)
    triples = one_by_one(model, data, params, "tiny", "validation")["sets"]
    out, truth, weights = (np.concatenate(part) for part in zip(*triples, strict=True))
    assert 0 < (weights == 0).sum() < len(weights) and truth.any()
    said, options = out > 0, {"sample_weight": weights}
    losses = np.logaddexp(0, np.where(truth == 1, -out, out).astype(np.float64)).mean(-1)
    expected = {
        "micro_f1": f1_score(truth, said, average="micro", zero_division=0, **options),
        "macro_f1": f1_score(truth, said, average="macro", zero_division=0, **options),
        "exact_match": np.average((truth == said).all(-1), weights=weights),
        "loss": np.average(losses, weights=weights),
    }
    assert found == pytest.approx(expected, rel=1e-5)


def test_macro_f1_of_classes(make, linear, tasks):
    chosen = (dataclasses.replace(tasks["grade"], metrics=("macro_f1",)),)
    model, data = make(linear, chosen)
    params = random_params(model, 1.0)
    found = Evaluator(model, data)(params, "validation")["grade"]["macro_f1"]
    triples = one_by_one(model, data, params, "tiny", "validation")["grade"]
    out, truth, weights = (np.concatenate(part) for part in zip(*triples, strict=True))
    expected = f1_score(
        truth, out.argmax(-1), average="macro", labels=[0, 1, 2], sample_weight=weights
    )
    assert found == pytest.approx(expected, rel=1e-5)


def test_accuracy_of_a_language_model(make, linear, tasks):
    task = dataclasses.replace(tasks["next"], metrics=("accuracy", "perplexity"))
    model, data = make(linear, (task,))
    params = random_params(model)
    found = Evaluator(model, data)(params, "validation")["next"]
    (triples,) = one_by_one(model, data, params, "tiny", "validation").values()
    hits = [(out.argmax(-1) == t).astype(float) for out, t, _ in triples]
    np.testing.assert_allclose(found["accuracy"], mean(hits, [w for *_, w in triples]), rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "layers"), [("linear", 0), ("lstm", 0), ("transformer", 0), ("transformer", 1)]
)
def test_text_to_text_is_measured_on_what_it_writes(make, plain, tasks, kind, layers):
    every = ("perplexity", "accuracy", "loss")
    chosen = (tasks["label"], dataclasses.replace(tasks["reply"], metrics=every))
    encoder = dataclasses.replace(plain.encoder, kind=kind, heads=2, feed_forward=8)
    decoder = DecoderConfig(layers, heads=2, feed_forward=8)
    model, data = make(dataclasses.replace(plain, encoder=encoder, decoder=decoder), chosen)
    params = random_params(model, 1.0)
    found = Evaluator(model, data)(params, "validation")["reply"]
    group = model.layout.group_of("reply").name
    triples = one_by_one(model, data, params, group, "validation")["reply"]
    weights = [w for *_, w in triples]
    loss = mean(negative_log_likelihoods(triples), weights)
    hits = [(out.argmax(-1) == t).astype(float) for out, t, _ in triples]
    expected = {"loss": loss, "perplexity": np.exp(loss), "accuracy": mean(hits, weights)}
    assert found == pytest.approx(expected, rel=1e-4)


def test_tasks_without_split_or_targets_are_left_out(make, linear, tasks, source, monkeypatch):
    unlabelled = [{**row, "label": -1} for row in source.splits["validation"]]
    few = {"train": source.splits["train"], "validation": unlabelled}
    changed = dataclasses.replace(source, splits=few)
    monkeypatch.setattr(
        "mtljax.data.catalogue.load_sources.load_source", lambda name, data_dir, **_: changed
    )
    model, data = make(linear, (tasks["label"], tasks["number"]))
    params = random_params(model)
    evaluate = Evaluator(model, data)
    found = evaluate(params, "validation")
    assert set(found) == {"number"}
    assert evaluate(params, "test") == {}
    assert score(model, found) == pytest.approx(1 / (1 + found["number"]["loss"]))
    assert np.isnan(score(model, {}))


def test_score_is_the_mean_of_main_metrics(make, plain):
    model, _ = make(plain)
    classes = model.layout.outputs["next"].num_classes
    values = {
        "label": {"accuracy": 0.8, "loss": 9.0},
        "tags": {"span_f1": 0.5, "accuracy": 0.1},
        "next": {"perplexity": classes**0.25},
        "number": {"mean_squared_error": 3.0 * model.layout.outputs["number"].deviation ** 2},
    }
    assert score(model, values) == pytest.approx((0.8 + 0.5 + 0.75 + 0.25) / 4)
    uniform = {"next": {"perplexity": float(classes)}}
    assert score(model, uniform) == pytest.approx(0)


@pytest.mark.parametrize(
    "kind, classes, out, expected",
    [
        ("regression", 1, [[1.5], [-2.0]], [1.5, -2.0]),
        ("classification", 2, [[1.5], [-2.0]], [1, 0]),
        ("classification", 3, [[1.0, 2.0, 0.0], [3.0, 2.0, 0.0]], [1, 0]),
        ("multilabel", 3, [[1.5, -2.0, 0.1], [0.0, 2.0, -1.0]], [[1, 0, 1], [0, 1, 0]]),
        ("multilabel", 1, [[1.5], [-2.0]], [[1], [0]]),
        ("tagging", 2, [[1.0, 2.0], [3.0, 2.0]], [1, 0]),
        # A single class is the only answer there is, whatever its logit.
        ("classification", 1, [[1.5], [-2.0]], [0, 0]),
        ("tagging", 1, [[1.5], [-2.0]], [0, 0]),
    ],
)
def test_answers(kind, classes, out, expected):
    task = Task("t", "d", kind, "x", "y")
    found = predicted_targets(task, np.array(out, np.float32), Output(classes))
    assert found.tolist() == expected


def test_padding_of_the_last_batch_is_not_counted(trained):
    model, data, _ = trained
    batches = list(data.evaluation_batches("tiny", "test"))
    labels = sum((batch["weights"]["label"] > 0).sum() for batch in batches)
    assert labels == (data.examples["tiny"]["test"].weights["label"] > 0).sum()
    assert (batches[-1]["segments"] == 0).all(axis=1).any()
    seen = [row for batch in batches for row, _ in unpack(batch, batch["tokens"])]
    assert sorted(seen) == list(range(11))
