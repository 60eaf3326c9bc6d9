"""The small problems behind the weightings: plain arrays in, plain arrays out, fixed cost.

- `unit_gramian` splits a Gramian into the cosines and norms that the others take.
- `min_norm`: the shortest convex combination of gradients.
- `dual_cone`: the projection onto the directions that conflict with no gradient.
- `least_change`: the best direction within a ball for the task that gains least.
- `power_balance`: weights that balance each task's gain against a power of its weight.
- `nnqp`: quadratic programs over non-negative variables.
- `project_simplex`: the nearest point of the simplex.
- `spectrum`: the eigenvalues of a Gramian that exceed rounding.
- `kmeans`: groups of numbers that lie close together.

All of them jit, vmap over leading batches, keep float32 and float64, and use no absolute epsilon:
multiplying the gradients by any number changes nothing but the scale of the answer. They check no
shapes; what is wrong there fails in JAX.
"""

from mtljax.solvers.dual_cone import dual_cone as dual_cone
from mtljax.solvers.kmeans import kmeans as kmeans
from mtljax.solvers.least_change import least_change as least_change
from mtljax.solvers.min_norm import min_norm as min_norm
from mtljax.solvers.nnqp import nnqp as nnqp
from mtljax.solvers.power_balance import power_balance as power_balance
from mtljax.solvers.simplex import project_simplex as project_simplex
from mtljax.solvers.spectrum import Spectrum as Spectrum
from mtljax.solvers.spectrum import spectrum as spectrum
from mtljax.solvers.unit_gramian import UnitGramian as UnitGramian
from mtljax.solvers.unit_gramian import unit_gramian as unit_gramian
