"""Versions of the packages that a result depends on."""

import platform
from importlib import metadata

from mtljax import __version__

_PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "tokenizers")


def versions() -> dict[str, str]:
    """Versions of Python, of this package and of those it computes with."""
    found = {"python": platform.python_version(), "mtljax": __version__}
    return found | {name: metadata.version(name) for name in _PACKAGES}
