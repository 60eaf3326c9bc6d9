"""Class counts, number of steps and a description of the data of a run."""

from collections.abc import Iterator

import jax
import numpy as np

from mtljax.data import MultitaskData
from mtljax.data.batching.mixture import inclusion
from mtljax.data.encoding.examples import Examples
from mtljax.errors import UserError
from mtljax.kinds import KINDS
from mtljax.presets import Config

_PORTION = 1 << 22


def class_counts(data: MultitaskData) -> dict[str, np.ndarray]:
    """Count the classes of the tasks that write text.

    Args:
      data: of all tasks.

    Returns:
      For each task that writes text, ``[classes]``: how often each class occurs in training.
    """
    counts = {}
    for group in data.groups:
        examples = data.examples[group.name]["train"]
        for task in group.tasks:
            if KINDS[task.kind].writes:
                counts[task.name] = sum(
                    np.bincount(targets[weights > 0], minlength=data.outputs[task.name].num_classes)
                    for targets, weights in _portions(examples, task.name)
                )
    return counts


def _portions(examples: Examples, task: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    # They may be mapped from a file that is larger than memory.
    targets, weights = examples.targets[task], examples.weights[task]
    for first in range(0, max(1, len(targets)), _PORTION):
        yield targets[first : first + _PORTION], weights[first : first + _PORTION]


def total_steps(config: Config, data: MultitaskData) -> int:
    """The steps of a run: `config.steps`, or as many as the largest input group needs for epochs.

    Args:
      config: of the run.
      data: of all tasks.

    Raises:
      UserError: for epochs of a mixture whose rates change over the steps, or if they are more than
        an int32 can count.
    """
    if not config.epochs:
        return _countable("steps", config.steps)
    if len(data.stages) > 1 or config.mixture.schedule != "off":
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
    """Describe a run that is about to start, in two lines.

    Args:
      config: of the run.
      data: of all tasks.
      steps: of the whole run.
      seconds: that loading and compiling the model took so far.

    Returns:
      Preset, steps, platform, encoder, vocabulary and weighting; then the tasks of each input group
      with the rows and positions of its batch.
    """
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
