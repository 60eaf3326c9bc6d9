"""Pure penalties on trees of parameters.

A penalty is a function from a tree to a scalar: `l2`, half the squared norm; `l1`; `group_lasso`,
the sum of the norms of groups; `trace_norm`, that of singular values; `mean_distance` and
`laplacian`, how far tasks are from each other; `learned_relation`, that by a relation that is
learned; `orthogonality` of features. `on` restricts one to chosen leaves. Multiply by a coefficient
and add to the loss::

    sparse = regularizers.on(regularizers.group_lasso, r"embedding/")
    objective = loss + 1e-4 * sparse(params) + 1e-5 * regularizers.l2(params)

`soft_threshold`, `shrink_groups` and `shrink_singular_values` are proximal operators, whose zeros
are exact.
"""

from mtljax.regularizers.distances import laplacian as laplacian
from mtljax.regularizers.distances import mean_distance as mean_distance
from mtljax.regularizers.distances import orthogonality as orthogonality
from mtljax.regularizers.group_lasso import group_lasso as group_lasso
from mtljax.regularizers.l1 import l1 as l1
from mtljax.regularizers.l2 import l2 as l2
from mtljax.regularizers.proximal import shrink_groups as shrink_groups
from mtljax.regularizers.proximal import shrink_singular_values as shrink_singular_values
from mtljax.regularizers.proximal import soft_threshold as soft_threshold
from mtljax.regularizers.relation import learned_relation as learned_relation
from mtljax.regularizers.relation import task_covariance as task_covariance
from mtljax.regularizers.selection import on as on
from mtljax.regularizers.trace_norm import trace_norm as trace_norm
