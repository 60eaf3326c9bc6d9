"""Per-task gradients: trees whose leaves ``[T, *param]`` have a leading task axis."""

from mtljax.gradients.combine import combine as combine
from mtljax.gradients.cross_gramian import cross_gramian as cross_gramian
from mtljax.gradients.gramian import gramian as gramian
from mtljax.gradients.gramian import gramian_diagonal as gramian_diagonal
from mtljax.gradients.scaled_gramian import ScaledDiagonal as ScaledDiagonal
from mtljax.gradients.scaled_gramian import ScaledGramian as ScaledGramian
from mtljax.gradients.scaled_gramian import scaled_gramian as scaled_gramian
from mtljax.gradients.scaled_gramian import scaled_gramian_diagonal as scaled_gramian_diagonal
from mtljax.gradients.stacked import task_count as task_count
