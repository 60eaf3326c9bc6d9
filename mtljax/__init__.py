"""Multi-task learning for text as pure JAX functions.

The subpackages load when they are first used, so ``import mtljax`` costs next to nothing::

    import mtljax

    mtljax.losses.softmax(logits, labels)
"""

import importlib
from types import ModuleType

__version__ = "0.1.0"

_MODULES = (
    "aggregation",
    "cli",
    "data",
    "errors",
    "generation",
    "gradients",
    "kinds",
    "losses",
    "metrics",
    "modules",
    "optim",
    "presets",
    "regularizers",
    "tasks",
    "training",
    "weighting",
)


def __getattr__(name: str) -> ModuleType:
    if name in _MODULES:
        return importlib.import_module(f"mtljax.{name}")
    raise AttributeError(f"module 'mtljax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
