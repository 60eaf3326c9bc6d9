"""Trained runs in forms that work without this library."""

from mtljax.export.huggingface import to_huggingface as to_huggingface
from mtljax.export.stablehlo import to_stablehlo as to_stablehlo
