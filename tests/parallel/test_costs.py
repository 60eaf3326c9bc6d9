import jax
import jax.numpy as jnp
import pytest

from mtljax.parallel import Chip, Costs, program_costs, roofline_seconds
from mtljax.parallel.costs import too_large


def test_costs_of_a_product():
    a, b = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((64, 32), (32, 16)))
    program = jax.jit(lambda a, b: (a @ b).sum()).lower(a, b).compile()
    found = program_costs(program, 1, peak=False)
    assert found.arguments == 4 * (64 * 32 + 32 * 16)
    assert found.memory == found.arguments + 4 + found.temporaries
    assert found.flops == 2 * 64 * 32 * 16 and found.sent == {}


def test_what_a_compiler_complains_of():
    needed, there = round(16.29 * 2**30), round(15.75 * 2**30)
    message = "total memory required for HLO temporaries (16.29G) exceeds available HBM (15.75G)."
    assert too_large(f"RESOURCE_EXHAUSTED: {message}") == (needed, there)
    used = "Ran out of memory in memory space hbm. Used 16.29G of 15.75G hbm. Exceeded hbm"
    assert too_large(used) == (needed, there)
    assert too_large("Used 512.0M of 1.0G hbm") == (2**29, 2**30)
    assert too_large("INVALID_ARGUMENT: something else") is None


@pytest.mark.parametrize(
    "costs, seconds",
    [
        (Costs(100, 50, 50, flops=8e3, sent={}), 8.0),
        (Costs(100, 50, 50, flops=1.0, sent={"all-reduce": 1.0}), 1.5),
        (Costs(100, 50, 50, flops=1.0, sent={"all-reduce": 30.0, "all-gather": 10.0}), 4.0),
    ],
)
def test_the_longest_of_three(costs, seconds):
    chip = Chip(flops=1e3, memory=1e3, memory_rate=100.0, link_rate=10.0, axes=2)
    assert roofline_seconds(costs, chip) == pytest.approx(seconds)
