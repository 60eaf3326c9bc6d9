"""Trained runs in forms that work without this library."""

from mtljax.export.stablehlo import to_stablehlo as to_stablehlo
