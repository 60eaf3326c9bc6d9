"""Multi-task learning for text as pure JAX functions.

Subpackages and the two functions of the top, `train` and `load_run`, load when they are first used,
so ``import mtljax`` costs next to nothing::

    import mtljax

    mtljax.losses.softmax(logits, labels)
    run = mtljax.load_run("runs/small-seed0")
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtljax import aggregation as aggregation
    from mtljax import data as data
    from mtljax import errors as errors
    from mtljax import export as export
    from mtljax import generation as generation
    from mtljax import gradients as gradients
    from mtljax import inference as inference
    from mtljax import kinds as kinds
    from mtljax import linear as linear
    from mtljax import losses as losses
    from mtljax import merging as merging
    from mtljax import metrics as metrics
    from mtljax import mixtures as mixtures
    from mtljax import modules as modules
    from mtljax import optim as optim
    from mtljax import parallel as parallel
    from mtljax import planning as planning
    from mtljax import presets as presets
    from mtljax import pretrained as pretrained
    from mtljax import regularizers as regularizers
    from mtljax import relatedness as relatedness
    from mtljax import solvers as solvers
    from mtljax import step as step
    from mtljax import studies as studies
    from mtljax import tasks as tasks
    from mtljax import training as training
    from mtljax import weighting as weighting
    from mtljax.inference import load_run as load_run
    from mtljax.training import train as train

__version__ = "0.1.0"

_MODULES = (
    "aggregation",
    "cli",
    "data",
    "errors",
    "export",
    "generation",
    "gradients",
    "inference",
    "kinds",
    "linear",
    "losses",
    "merging",
    "metrics",
    "mixtures",
    "modules",
    "optim",
    "parallel",
    "planning",
    "pretrained",
    "presets",
    "regularizers",
    "relatedness",
    "solvers",
    "step",
    "studies",
    "tasks",
    "training",
    "weighting",
)
_FUNCTIONS = {"load_run": "inference", "train": "training"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return _imported(name)
    if name in _FUNCTIONS:
        return getattr(_imported(_FUNCTIONS[name]), name)
    raise AttributeError(f"module 'mtljax' has no attribute {name!r}")


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(f"mtljax.{name}")
    except ModuleNotFoundError as error:
        from mtljax.errors import missing_extra

        told = missing_extra(error, f"mtljax.{name}")
        if told is None:
            raise
        raise told from None


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_FUNCTIONS})
