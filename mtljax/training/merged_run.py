"""Runs of one ancestor merged into a new one, by a coefficient that validation chooses."""

import dataclasses
import functools
import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from rich.console import Console

from mtljax.data import MultitaskData
from mtljax.errors import UserError
from mtljax.merging import dare, task_arithmetic, ties
from mtljax.modules.shared_heads import encoder_params, with_shared_heads
from mtljax.tasks import join_tasks
from mtljax.training.ancestor import common_ancestor
from mtljax.training.assembled_run import (
    assemble,
    check_alike,
    check_new,
    joined_heads,
    read_part,
)
from mtljax.training.evaluation import Evaluator, score
from mtljax.training.model import Model
from mtljax.training.reporting.progress import notebook_console, notes_on
from mtljax.training.starting_point import StartingPoint

Say = Callable[[str], None]
Method = Literal["arithmetic", "ties", "dare", "dare-ties"]


@dataclasses.dataclass(frozen=True)
class MergeSettings:
    """How models are merged.

    Where there are several values, those with the best score on validation are taken.

    Attributes:
      method: 'arithmetic', the sum of what the models have learned (Ilharco et al. 2023); 'ties',
        of each the largest entries, where their signs agree (Yadav et al. 2023); 'dare', the sum of
        what is left of each when most entries were dropped at random (Yu et al. 2024); 'dare-ties',
        first the one, then the other.
      scale: factors of what is added to the ancestor's parameters.
      density: shares of the entries that 'ties' keeps, in (0, 1].
      drop: probabilities that 'dare' drops an entry, in [0, 1).
      seed: of 'dare'.
    """

    method: Method = "arithmetic"
    scale: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5)
    density: tuple[float, ...] = (0.2,)
    drop: tuple[float, ...] = (0.9,)
    seed: int = 0


def merge_runs(
    runs: Sequence[str | Path],
    run_dir: str | Path,
    settings: MergeSettings = MergeSettings(),  # noqa: B008 - immutable
    *,
    ancestor: str | Path | None = None,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Merge the encoders of runs that were trained from one start, and keep the heads of all.

    The result is a run of no step with the tasks of all runs, which `predict` and `evaluate` read
    and which another run can start from; `start.json` there says what it was made of.

    Args:
      runs: their directories, two at least; each began from the same run or pretrained model.
      run_dir: directory of the new run.
      settings: how they are merged.
      ancestor: directory of the run or pretrained model that they began from, if it is no more
        where they had it from.
      data_dir: directory of data sets in TFDS format.
      cache_dir: directory where tokenised data is kept; None for nowhere.
      console: where it is said what was chosen.

    Returns:
      The content of `summary.json` of the new run.

    Raises:
      UserError: the runs have no common ancestor, other encoders or heads or a task of one name;
        or it is no more there.
    """
    _check(settings)
    if len(runs) < 2:
        raise UserError(f"runs to merge: name two at least, got {len(runs)}")
    if len({os.path.realpath(path) for path in runs}) < len(runs):
        raise UserError("runs to merge: one is named twice")
    directory = Path(run_dir)
    check_new(directory)
    console = console or notebook_console() or Console(quiet=True)
    say = notes_on(console)
    for name in _unused(settings):
        say(f"{name}: has no effect, the method {settings.method!r} does not read it")
    parts = [read_part(path, say) for path in runs]
    first, *others = parts
    for other in others:
        check_alike(first, other)
    structure = first.config.sharing.structure
    if structure != "hard":
        raise UserError(f"runs to merge: have sharing.structure {structure!r}, which is not merged")
    tasks = join_tasks({str(part.directory): part.tasks for part in parts})
    together = joined_heads(parts)
    encoders = [encoder_params(part.params["shared"]) for part in parts]
    base, about = common_ancestor([part.directory for part in parts], encoders[0], ancestor, say)

    heads = {name: head for part in parts for name, head in part.params["heads"].items()}

    def parameters(model: Model, data: MultitaskData) -> StartingPoint:
        found, chosen = _choose(settings, base, encoders, together, heads, model, data, say)
        made_of = {"runs": [part.about() for part in parts], "ancestor": about}
        return StartingPoint(
            with_shared_heads(found, together),
            heads,
            {"from": "merge", "method": settings.method, **chosen, **made_of},
        )

    return assemble(
        parts,
        tasks,
        directory,
        parameters,
        # That it is of a pretrained model, which an export to its format asks.
        pretrained=about["directory"] if about["from"] == "pretrained" else "",
        data_dir=data_dir,
        cache_dir=cache_dir,
        console=console,
    )


def _check(settings: MergeSettings) -> None:
    for name, inside, bounds in (
        ("scale", lambda x: math.isfinite(x), "finite"),
        ("density", lambda x: 0 < x <= 1, "in (0, 1]"),
        ("drop", lambda x: 0 <= x < 1, "in [0, 1)"),
    ):
        values = getattr(settings, name)
        if not values:
            raise UserError(f"{name}: give one value at least")
        for value in values:
            if not inside(value):
                raise UserError(f"{name}: must be {bounds}, got {value}")
    if not 0 <= settings.seed < 2**32:
        raise UserError(f"seed: must be in [0, 2^32), got {settings.seed}")


def _unused(settings: MergeSettings) -> list[str]:
    """The settings that are said and that the method does not read."""
    readers = {"density": "ties", "drop": "dare", "seed": "dare"}
    usual = MergeSettings()
    return [
        name
        for name, reader in readers.items()
        if reader not in settings.method and getattr(settings, name) != getattr(usual, name)
    ]


def _choose(
    settings: MergeSettings,
    base: Any,
    models: Sequence[Any],
    together: Mapping[str, Any],
    heads: Mapping[str, Any],
    model: Model,
    data: MultitaskData,
    say: Say,
) -> tuple[Any, dict[str, Any]]:
    """The merged encoder with the best score on validation, and how it was made, as JSON."""
    candidates = list(_candidates(settings))
    if len(candidates) == 1:
        say(f"merged by {settings.method}, {_shown(candidates[0])}")
        return _merged(settings, candidates[0], base, models), candidates[0]
    evaluator = Evaluator(model, data)
    best, kept, tried = -math.inf, None, []
    for candidate in candidates:
        shared = _merged(settings, candidate, base, models)
        params = {"shared": with_shared_heads(shared, together), "heads": heads}
        values = evaluator(params, "validation")
        if not values:
            raise UserError(
                "scale: no task has a target in validation to choose by; give one value of "
                f"{', '.join(candidate)}"
            )
        value = score(model, values)
        say(f"merged by {settings.method}, {_shown(candidate)}: score {value:.4f} on validation")
        tried.append({**candidate, "score": value if math.isfinite(value) else None})
        if value > best:
            best, kept = value, (shared, candidate)
    if kept is None:
        raise UserError(f"scale: no score on validation is finite, of {len(tried)} that were tried")
    largest = len(settings.scale) > 1 and kept[1]["scale"] == max(settings.scale)
    more = "; no larger scale was tried" if largest else ""
    say(f"taken: {_shown(kept[1])}{more}")
    return kept[0], {**kept[1], "tried": tried}


def _candidates(settings: MergeSettings) -> Iterator[dict[str, float]]:
    names = ["scale"]
    names += ["density"] if "ties" in settings.method else []
    names += ["drop"] if "dare" in settings.method else []
    for values in itertools.product(*(getattr(settings, name) for name in names)):
        yield dict(zip(names, values, strict=True))


def _shown(candidate: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in candidate.items())


def _merged(
    settings: MergeSettings, candidate: Mapping[str, float], base: Any, models: Sequence[Any]
) -> Any:
    # What decides what is compiled; the scale does not.
    rest = tuple(sorted((name, value) for name, value in candidate.items() if name != "scale"))
    arguments = candidate["scale"], jax.random.key(settings.seed), base, list(models)
    return jax.tree.map(np.asarray, _compiled(settings.method, rest)(*arguments))


@functools.cache
def _compiled(method: Method, options: tuple[tuple[str, float], ...]) -> Callable[..., Any]:
    by_name = dict(options)

    def merged(scale: jax.Array, key: jax.Array, base: Any, models: list[Any]) -> Any:
        if "dare" in method:
            models = [
                dare(jax.random.fold_in(key, i), base, model, drop=by_name["drop"])
                for i, model in enumerate(models)
            ]
        if "ties" in method:
            return ties(base, models, scale, density=by_name["density"])
        return task_arithmetic(base, models, scale)

    return jax.jit(merged)
