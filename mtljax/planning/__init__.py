"""The costs of a train step: planned for other devices, measured on those at hand."""

from mtljax.planning.assumed_layout import NOTHING_ASSUMED as NOTHING_ASSUMED
from mtljax.planning.assumed_layout import Assumed as Assumed
from mtljax.planning.assumed_layout import planned_layout as planned_layout
from mtljax.planning.measured import Amount as Amount
from mtljax.planning.measured import Device as Device
from mtljax.planning.measured import Measured as Measured
from mtljax.planning.measured import check_measured as check_measured
from mtljax.planning.measured import data_of as data_of
from mtljax.planning.measured import devices_at_hand as devices_at_hand
from mtljax.planning.measured import measure as measure
from mtljax.planning.plan import Plan as Plan
from mtljax.planning.plan import layout_of as layout_of
from mtljax.planning.plan import plan as plan
from mtljax.planning.plan import read_topology as read_topology
from mtljax.planning.search import Trial as Trial
from mtljax.planning.search import largest_batch as largest_batch
from mtljax.planning.search import make_fit as make_fit
from mtljax.planning.table import fit_text as fit_text
from mtljax.planning.table import measured_text as measured_text
from mtljax.planning.table import mesh_text as mesh_text
from mtljax.planning.table import plan_table as plan_table
