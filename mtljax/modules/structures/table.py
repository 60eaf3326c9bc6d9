"""The table of structures."""

from mtljax.modules.structures.adapters import ADAPTERS_STRUCTURE
from mtljax.modules.structures.asp_mtl import ASP_MTL
from mtljax.modules.structures.cross_stitch import CROSS_STITCH
from mtljax.modules.structures.dselect_k import DSELECT_K
from mtljax.modules.structures.film import FILM
from mtljax.modules.structures.gated_experts import CGC, MMOE
from mtljax.modules.structures.lora import LORA
from mtljax.modules.structures.moe import MOE
from mtljax.modules.structures.mtl_lora import MTL_LORA
from mtljax.modules.structures.pals import PALS
from mtljax.modules.structures.ple import PLE
from mtljax.modules.structures.prefixes import PREFIXES
from mtljax.modules.structures.private_layers import PRIVATE_LAYERS
from mtljax.modules.structures.structure import Structure, only_params

HARD = Structure(merged=lambda *args: only_params(*args)["params"])
"""One whole encoder for all tasks: nothing is added, nothing is divided."""

STRUCTURES: dict[str, Structure] = {
    "hard": HARD,
    "lora": LORA,
    "mtl_lora": MTL_LORA,
    "adapters": ADAPTERS_STRUCTURE,
    "film": FILM,
    "prefixes": PREFIXES,
    "moe": MOE,
    "pals": PALS,
    "private_layers": PRIVATE_LAYERS,
    "cross_stitch": CROSS_STITCH,
    "asp_mtl": ASP_MTL,
    "mmoe": MMOE,
    "cgc": CGC,
    "ple": PLE,
    "dselect_k": DSELECT_K,
}
"""Every structure by the name that `sharing.structure` gives it."""
