"""What structures between hard sharing and separate models compute: pure functions over arrays.

How they become the parameters of a model is said in `mtljax.modules.structures`.
"""

from mtljax.sharing.asp_mtl import adversary_loss as adversary_loss
from mtljax.sharing.asp_mtl import overlap as overlap
from mtljax.sharing.asp_mtl import reverse_gradient as reverse_gradient
from mtljax.sharing.bottleneck import bottleneck as bottleneck
from mtljax.sharing.cross_stitch import cross_stitch as cross_stitch
from mtljax.sharing.cross_stitch import near_identity as near_identity
from mtljax.sharing.cross_stitch import stitched as stitched
from mtljax.sharing.film import film as film
from mtljax.sharing.film import film_parameters as film_parameters
from mtljax.sharing.low_rank import low_rank as low_rank
from mtljax.sharing.low_rank import merged as merged
from mtljax.sharing.low_rank import of_task as of_task
from mtljax.sharing.mixtures import experts as experts
from mtljax.sharing.mixtures import mixture as mixture
from mtljax.sharing.mixtures import softmax_gate as softmax_gate
from mtljax.sharing.moe import gated_experts as gated_experts
from mtljax.sharing.pals import projected_attention as projected_attention
from mtljax.sharing.ple import Extracted as Extracted
from mtljax.sharing.ple import Level as Level
from mtljax.sharing.ple import extract as extract
from mtljax.sharing.ple import extraction as extraction
from mtljax.sharing.prefix import prefix_attention as prefix_attention
from mtljax.sharing.selectors import select as select
from mtljax.sharing.selectors import selector as selector
from mtljax.sharing.selectors import selector_entropy as selector_entropy
from mtljax.sharing.selectors import smooth_step as smooth_step
