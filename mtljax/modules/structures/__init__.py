"""Structures of sharing as parameters: what tasks have in common, what is private, how it is read.

A structure is a value: `Structure` says what the fields are, `STRUCTURES` is the table, and
`of_model` what a model does with whichever it has.
"""

from mtljax.modules.structures.of_model import check_apart as check_apart
from mtljax.modules.structures.of_model import check_structure as check_structure
from mtljax.modules.structures.of_model import draw as draw
from mtljax.modules.structures.of_model import draw_in_head as draw_in_head
from mtljax.modules.structures.of_model import encoder_variables as encoder_variables
from mtljax.modules.structures.of_model import has_private as has_private
from mtljax.modules.structures.of_model import merged_parameters as merged_parameters
from mtljax.modules.structures.of_model import mixed as mixed
from mtljax.modules.structures.of_model import packed as packed
from mtljax.modules.structures.of_model import packed_width as packed_width
from mtljax.modules.structures.of_model import rows_loss as rows_loss
from mtljax.modules.structures.of_model import structure_of as structure_of
from mtljax.modules.structures.of_model import whole_encoder as whole_encoder
from mtljax.modules.structures.of_model import with_private as with_private
from mtljax.modules.structures.structure import PRIVATE as PRIVATE
from mtljax.modules.structures.structure import SHARING as SHARING
from mtljax.modules.structures.structure import Run as Run
from mtljax.modules.structures.structure import Structure as Structure
from mtljax.modules.structures.table import STRUCTURES as STRUCTURES
