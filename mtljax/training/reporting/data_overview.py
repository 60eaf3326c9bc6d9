"""What the data of a run amounts to: class counts, steps, a line about it."""

from collections.abc import Iterator

import jax
import numpy as np

from mtljax.data import Examples, MultitaskData
from mtljax.data.batching.mixture import inclusion
from mtljax.errors import UserError
from mtljax.presets import Config
from mtljax.tasks import KINDS

_PIECE = 1 << 22


def class_counts(data: MultitaskData) -> dict[str, np.ndarray]:
    """How often each class of a task that writes text occurs in training: ``[classes]`` by task."""
    counts = {}
    for group in data.groups:
        examples = data.examples[group.name]["train"]
        for task in group.tasks:
            if KINDS[task.kind].writes:
                counts[task.name] = sum(
                    np.bincount(targets[weights > 0], minlength=data.outputs[task.name].num_classes)
                    for targets, weights in _pieces(examples, task.name)
                )
    return counts


def _pieces(examples: Examples, task: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    # Targets and weights, some at a time: they may be mapped from a large file.
    targets, weights = examples.targets[task], examples.weights[task]
    for first in range(0, max(1, len(targets)), _PIECE):
        yield targets[first : first + _PIECE], weights[first : first + _PIECE]


def total_steps(config: Config, data: MultitaskData) -> int:
    """Steps of a run: as given, or as many as the largest input group needs for its epochs.

    Raises:
      UserError: for epochs of a mixture whose rates change over the steps, or if they are more than
        an int32 can count.
    """
    if not config.epochs:
        return _countable("steps", config.steps)
    if len(data.stages) > 1:
        raise UserError(
            "epochs: give --steps instead, for the rates of the mixture change over them"
        )
    shares = dict.fromkeys(data.stages[0], 1.0)
    if 0 < config.mixture.subset < len(data.groups):
        shares = inclusion(data.rates(), config.mixture.subset)
    per_epoch = max(
        int(data.examples[name]["train"].starts[-1])
        / (rows * shares[name] * data.layout.shapes[name].row_length)
        for name, rows in data.stages[0].items()
    )
    return max(1, _countable("epochs", round(config.epochs * per_epoch)))


def _countable(name: str, steps: int) -> int:
    if steps >= 2**31:
        raise UserError(f"{name}: must make less than 2^31 steps, got {steps:.3g}")
    return steps


def describe(config: Config, data: MultitaskData, steps: int, seconds: float) -> str:
    """One line on what is about to happen."""
    groups = []
    for group in data.groups:
        shape = data.layout.shapes[group.name]
        names = " + ".join(task.name for task in group.tasks)
        groups.append(f"{names} [{shape.rows} x {shape.row_length}]")
    pieces = "words" if config.tokenizer.kind == "words" else "pieces"
    return (
        f"{config.preset}: {steps} steps on {jax.default_backend()}, "
        f"{config.encoder.kind} encoder, {data.layout.vocab_size:,} {pieces}, "
        f"weighting {config.weighting}; data ready in {seconds:.1f} s\n"
        f"input groups: {', '.join(groups)}"
    )
