"""Per-task gradients: trees whose leaves ``[T, *param]`` have a leading task axis."""

from mtljax.gradients.combine import combine as combine
from mtljax.gradients.cross_gramian import cross_gramian as cross_gramian
from mtljax.gradients.gather_rows import GatheredRows as GatheredRows
from mtljax.gradients.gather_rows import gather_rows as gather_rows
from mtljax.gradients.gramian import gramian as gramian
from mtljax.gradients.gramian import gramian_diagonal as gramian_diagonal
from mtljax.gradients.group_gramians import group_gramians as group_gramians
from mtljax.gradients.lagged import LaggedGradients as LaggedGradients
from mtljax.gradients.lagged import lagged_gradients as lagged_gradients
from mtljax.gradients.problem import Examples as Examples
from mtljax.gradients.problem import Unbatched as Unbatched
from mtljax.gradients.representation import RepresentationGradients as RepresentationGradients
from mtljax.gradients.representation import representation_gradients as representation_gradients
from mtljax.gradients.row_gradients import RowGradients as RowGradients
from mtljax.gradients.row_gradients import unique_rows as unique_rows
from mtljax.gradients.scaled_gramian import ScaledDiagonal as ScaledDiagonal
from mtljax.gradients.scaled_gramian import ScaledGramian as ScaledGramian
from mtljax.gradients.scaled_gramian import scaled_gramian as scaled_gramian
from mtljax.gradients.scaled_gramian import scaled_gramian_diagonal as scaled_gramian_diagonal
from mtljax.gradients.sketch import sketch as sketch
from mtljax.gradients.stacked import task_count as task_count
from mtljax.gradients.task_gradients import WAYS as WAYS
from mtljax.gradients.task_gradients import TaskGradients as TaskGradients
from mtljax.gradients.task_gradients import task_gradients as task_gradients
from mtljax.gradients.task_losses import task_losses as task_losses
