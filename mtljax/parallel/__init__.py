"""One step on many devices: meshes, sharding rules, compiled steps, tasks on groups of devices."""

from mtljax.parallel.mesh import AXES as AXES
from mtljax.parallel.mesh import axes_size as axes_size
from mtljax.parallel.mesh import make_mesh as make_mesh
from mtljax.parallel.mesh import mesh_shape as mesh_shape
from mtljax.parallel.mesh import present_axes as present_axes
from mtljax.parallel.mesh import row_axes as row_axes
from mtljax.parallel.rules import follow as follow
from mtljax.parallel.rules import parameter_specs as parameter_specs
from mtljax.parallel.rules import parse_rule as parse_rule
from mtljax.parallel.rules import shardings as shardings
from mtljax.parallel.split import WHOLE as WHOLE
from mtljax.parallel.split import Split as Split
from mtljax.parallel.split import anywhere as anywhere
from mtljax.parallel.split import own_key as own_key
from mtljax.parallel.split import share_of_mean as share_of_mean
from mtljax.parallel.split import spread as spread
from mtljax.parallel.split import total as total
from mtljax.parallel.strategies import compiled_step as compiled_step
