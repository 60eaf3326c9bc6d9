"""The small problems behind the weightings: plain arrays in, plain arrays out, fixed cost.

All of them jit, vmap over leading batches, keep float32 and float64, and know no absolute epsilon:
multiplying the gradients by any number changes nothing but the scale of the answer.
"""

from mtljax.solvers.dual_cone import dual_cone as dual_cone
from mtljax.solvers.kmeans import kmeans as kmeans
from mtljax.solvers.least_change import least_change as least_change
from mtljax.solvers.min_norm import min_norm as min_norm
from mtljax.solvers.nnqp import nnqp as nnqp
from mtljax.solvers.power_balance import power_balance as power_balance
from mtljax.solvers.ridge import ridged as ridged
from mtljax.solvers.simplex import project_simplex as project_simplex
from mtljax.solvers.spectrum import Spectrum as Spectrum
from mtljax.solvers.spectrum import spectrum as spectrum
from mtljax.solvers.unit_rows import UnitGramian as UnitGramian
from mtljax.solvers.unit_rows import unit_rows as unit_rows
