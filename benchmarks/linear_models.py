"""Linear models of sixteen review domains: time to the optimum beside liblinear, and accuracy.

    python benchmarks/linear_models.py --data DIRECTORY --json benchmarks/results/linear_models.json

FDU-MTL (Liu, Qiu and Huang 2017) as JSON lines, a directory a domain. Features are scikit-learn's
TF-IDF of words and pairs of words. One thread: run it under ``taskset -c 0``. Both libraries solve
each problem in turn, three times; the median of the processor time counts, ours after it was
compiled.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from mtljax import linear

ROUNDS = 3
STRENGTHS = (10.0, 3.0, 1.0, 0.3, 0.1)


def read(directory: Path, split: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    texts, labels, task = [], [], []
    domains = sorted(path.name for path in directory.iterdir() if path.is_dir())
    for index, domain in enumerate(domains):
        with (directory / domain / f"{split}.jsonl").open(encoding="utf-8") as file:
            for row in map(json.loads, file):
                texts.append(row["text"])
                labels.append(row["label"] == "positive")
                task.append(index)
    return texts, np.array(labels, float), np.array(task)


def copies(features: Any, task: np.ndarray, shared: float, own: float) -> Any:
    """Daume's features: one copy for all tasks, one for each, as wide as the penalties say."""
    blocks = [features / np.sqrt(shared)]
    for index in range(task.max() + 1):
        blocks.append(scipy.sparse.diags_array((task == index) / np.sqrt(own)) @ features)
    return scipy.sparse.hstack(blocks, format="csr")


def seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


def compare(
    features: Any,
    labels: np.ndarray,
    task: np.ndarray,
    loss: str,
    shared_private: bool,
    dtype: Any,
) -> dict[str, Any]:
    """One problem by both libraries, to scikit-learn's tolerances and to ours."""
    signs = 2 * labels - 1
    count = int(task.max()) + 1 if shared_private else 1
    own_task = task if shared_private else np.zeros_like(task)
    omega = linear.mean_regularized(1.0, 0.25, count) if shared_private else linear.l2(1.0)
    theirs = copies(features, task, 0.25, 1.0) if shared_private else features
    entries = linear.from_scipy(features, dtype)
    fit = jax.jit(linear.fit, static_argnames=("num_tasks", "loss", "intercept"))

    def ours() -> Any:
        return jax.block_until_ready(
            fit(
                entries, labels, own_task, num_tasks=count, loss=loss, omega=omega,
                intercept=False, tolerance=1e-5 if loss == "hinge" else 1e-6,
            )
        )  # fmt: skip

    def liblinear() -> np.ndarray:
        if loss == "logistic":
            model: Any = LogisticRegression(
                C=1.0, solver="liblinear", fit_intercept=False, tol=1e-4, max_iter=10_000
            )
        else:
            model = LinearSVC(C=1.0, loss=loss, fit_intercept=False, tol=1e-4, max_iter=100_000)
        return model.fit(theirs, labels).coef_[0]

    ours()
    times: dict[str, list[float]] = {"mtljax": [], "liblinear": []}
    solution: Any = None
    weights = np.zeros(0)
    for _ in range(ROUNDS):
        duration, solution = seconds(ours)
        times["mtljax"].append(duration)
        duration, weights = seconds(liblinear)
        times["liblinear"].append(duration)
    margins = signs * (theirs @ weights)
    losses = {
        "logistic": np.logaddexp(0, -margins),
        "hinge": np.maximum(0, 1 - margins),
        "squared_hinge": np.maximum(0, 1 - margins) ** 2,
    }[loss]
    reference = float(losses.sum() + weights @ weights / 2)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "loss": loss,
        "features": "shared and own" if shared_private else "pooled",
        "dtype": np.dtype(dtype).name,
        "seconds": medians,
        "ratio": medians["mtljax"] / medians["liblinear"],
        "objective": float(solution.objective),
        "gap": float(solution.gap),
        "steps": int(solution.steps),
        "liblinear_objective": reference,
    }


def quality(
    directory: Path, vectorizer: Any, train: tuple[list[str], np.ndarray, np.ndarray]
) -> dict[str, float]:
    """Average accuracy on test; the strength of each penalty is chosen on validation."""
    _, labels, task = train
    features = {"train": linear.from_scipy(vectorizer.transform(train[0]))}
    targets, tasks = {"train": labels}, {"train": task}
    for split in ("validation", "test"):
        texts, targets[split], tasks[split] = read(directory, split)
        features[split] = linear.from_scipy(vectorizer.transform(texts))
    count = int(task.max()) + 1
    kinds = {
        "a model a domain": lambda s: linear.l2(s),
        "shared and own": lambda s: linear.mean_regularized(4 * s, s, count),
        "relation learned (MTRL)": lambda s: linear.Omega(0.1 * s, None, 0.3 * s, "squared_trace"),
    }
    report = {}
    for name, penalty in kinds.items():
        path = linear.fit_path(
            features["train"], labels, task, [penalty(s / 4) for s in STRENGTHS],
            num_tasks=count, tolerance=1e-4,
        )  # fmt: skip
        held = features["validation"], targets["validation"], tasks["validation"]
        best = path[linear.best_of(path, *held)]
        scores = np.asarray(
            linear.scores(features["test"], best.weights, jnp.asarray(tasks["test"]))
        )
        right = (scores + np.asarray(best.intercept)[tasks["test"]] > 0) == (targets["test"] > 0)
        by_task = [right[tasks["test"] == t].mean() for t in range(count)]
        report[name] = 100 * float(np.mean(by_task))
        print(f"{name}: {report[name]:.2f}", flush=True)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--parts", nargs="+", default=["time", "accuracy"])
    arguments = parser.parse_args()
    train = read(arguments.data, "train")
    vectorizer: Any = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    features: Any = scipy.sparse.csr_matrix(vectorizer.fit_transform(train[0]))
    print(f"{features.shape[0]} texts, {features.shape[1]} features, {features.nnz} entries")
    rows = []
    for shared_private in (False, True) if "time" in arguments.parts else ():
        for loss in ("logistic", "squared_hinge", "hinge"):
            rows.append(compare(features, *train[1:], loss, shared_private, np.float32))
            print(json.dumps(rows[-1]), flush=True)
    report = {
        "machine": platform.processor() or platform.machine(),
        "jax": jax.__version__,
        "texts": features.shape[0],
        "width": features.shape[1],
        "entries": features.nnz,
        "rows": rows,
    }
    if "accuracy" in arguments.parts:
        report["accuracy"] = quality(arguments.data, vectorizer, train)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
