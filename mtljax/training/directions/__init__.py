"""From the batch of a step to its direction, in the way that suits the method."""

from mtljax.training.directions.combined import without_not_finite as without_not_finite
from mtljax.training.directions.contract import GRADIENT_SIGNALS as GRADIENT_SIGNALS
from mtljax.training.directions.contract import Direction as Direction
from mtljax.training.directions.contract import Measured as Measured
from mtljax.training.directions.contract import Method as Method
from mtljax.training.directions.contract import Rule as Rule
from mtljax.training.directions.contract import StepInputs as StepInputs
from mtljax.training.directions.contract import as_method as as_method
from mtljax.training.directions.contract import check_heads as check_heads
from mtljax.training.directions.contract import reads_gradients as reads_gradients
from mtljax.training.directions.ways import LAGGED as LAGGED
from mtljax.training.directions.ways import choose_way as choose_way
from mtljax.training.directions.ways import find as find
