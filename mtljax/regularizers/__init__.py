"""Pure penalties on trees of parameters.

A penalty is a function from a tree to a scalar: `l2`, half the squared norm; `group_lasso`, the sum
of the norms of groups. `on` restricts one to chosen leaves. Multiply by a coefficient and add to
the loss::

    sparse = regularizers.on(regularizers.group_lasso, r"embedding/")
    objective = loss + 1e-4 * sparse(params) + 1e-5 * regularizers.l2(params)
"""

from mtljax.regularizers.group_lasso import group_lasso as group_lasso
from mtljax.regularizers.l2 import l2 as l2
from mtljax.regularizers.selection import on as on
