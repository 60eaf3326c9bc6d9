"""Per-task gradients: trees whose leaves ``[T, *param]`` have a leading task axis."""

from mtljax.gradients.combine import combine as combine
from mtljax.gradients.gramian import gramian as gramian
from mtljax.gradients.gramian import gramian_diagonal as gramian_diagonal
from mtljax.gradients.stacked import task_count as task_count
