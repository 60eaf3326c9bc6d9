"""What structures between hard sharing and separate models compute: pure functions over arrays.

How they become the parameters of a model is said in `mtljax.modules.structures`.
"""

from mtljax.sharing.bottleneck import bottleneck as bottleneck
from mtljax.sharing.low_rank import low_rank as low_rank
from mtljax.sharing.low_rank import merged as merged
from mtljax.sharing.low_rank import of_task as of_task
