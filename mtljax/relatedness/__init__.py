"""How tasks are related, and which of them to train together.

Pure functions of losses, gradients, features and labels: what a training step has at hand already,
or what a few more passes give. Affinities ``[T, T]`` are read "from a row onto a column": entry
``[i, j]`` says what task i does for task j, above 0 where it helps.

- `conflicts`: whether gradients point apart now; free where there is a Gramian.
- `first_order_affinity`: how a step of one task changes the loss of another, to first order; free.
- `lookahead_affinity`: the same for a real step; T forward passes of all tasks.
- `subset_losses`: each task's loss after training on a subset, without training; a gradient an
  example, once.
- `linear_cka`: whether two encoders represent the same texts alike; a forward pass of each.
- `label_information`: whether one label tells the other, on the same texts; free.

`best_grouping` makes groups of tasks of an affinity, `best_partition` of any value of a subset.
"""

from mtljax.relatedness.affinity import Conflicts as Conflicts
from mtljax.relatedness.affinity import conflicts as conflicts
from mtljax.relatedness.affinity import first_order_affinity as first_order_affinity
from mtljax.relatedness.affinity import lookahead_affinity as lookahead_affinity
from mtljax.relatedness.cka import linear_cka as linear_cka
from mtljax.relatedness.grouping import Grouping as Grouping
from mtljax.relatedness.grouping import best_grouping as best_grouping
from mtljax.relatedness.grouping import group_gains as group_gains
from mtljax.relatedness.label_information import LabelInformation as LabelInformation
from mtljax.relatedness.label_information import label_information as label_information
from mtljax.relatedness.linearized import Linearized as Linearized
from mtljax.relatedness.linearized import class_margin as class_margin
from mtljax.relatedness.linearized import linearize as linearize
from mtljax.relatedness.metrics_rows import affinity_of_metrics as affinity_of_metrics
from mtljax.relatedness.partitions import best_partition as best_partition
from mtljax.relatedness.subset_losses import SubsetLosses as SubsetLosses
from mtljax.relatedness.subset_losses import subset_losses as subset_losses
