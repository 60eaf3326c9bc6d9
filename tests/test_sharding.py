"""Results do not depend on how many devices hold the arrays."""

from collections.abc import Callable


def test_weighted_mean_of_sharded_values(on_eight_devices: Callable[[str], str]):
    printed = on_eight_devices("""
import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from mtljax import losses

mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
rng = np.random.default_rng(0)
values, weights = rng.normal(size=(2, 64)).astype(np.float32)
sharding = NamedSharding(mesh, PartitionSpec("data"))
mean = jax.jit(losses.weighted_mean)(*jax.device_put((values, weights**2), sharding))
print(len(jax.devices()), abs(float(mean) - np.average(values, weights=weights**2)) < 1e-6)
""")
    assert printed == "8 True\n"
