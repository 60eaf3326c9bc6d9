"""FLOPs of the products in an encoder by the formulas; nothing is compiled or computed."""

import math

import jax
import numpy as np
import pytest

from mtljax.kinds import KINDS
from mtljax.modules import (
    EncoderConfig,
    HeadsConfig,
    HeadSpec,
    SharingConfig,
    build,
    encode,
    init,
    shared_and_private,
)

T, R, S, D, H, LAYERS = 3, 2, 32, 256, 4, 2
M, E, F, P = 64, 4, 2, 48
STRUCTURES = {
    "prefixes": (SharingConfig("prefixes", prefix_length=P), 1, LAYERS * 4 * P * D),
    "moe": (SharingConfig("moe", width=M, experts=E), 1, LAYERS * E * (4 * D * M + 4 * D)),
    "pals": (SharingConfig("pals", width=M), 1, LAYERS * (4 * D * M + 6 * M**2 + 4 * S * M)),
    "cross_stitch": (SharingConfig("cross_stitch"), T, LAYERS * 2 * T**2 * D),
    "asp_mtl": (SharingConfig("asp_mtl"), 2, 2 * D * T),
    "ple": (
        SharingConfig("ple", width=M, experts=E, private_experts=F, levels=3),
        1,
        2 * 4 * (E + T * F) * D * (M + 1) + 4 * T * (E + F) * D + 4 * E * D * M,
    ),
}


def of_products(jaxpr):
    """Twice the multiplications of all products of matrices, in loops as often as they run."""
    total = 0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            shape = eqn.invars[0].aval.shape
            total += 2 * eqn.outvars[0].aval.size * math.prod(shape[i] for i in contracted)
        values = eqn.params.values()
        inside = [getattr(value, "jaxpr", value) for value in values if hasattr(value, "eqns")]
        total += eqn.params.get("length", 1) * sum(map(of_products, inside))
    return total


def flops(sharing):
    """Of encoding the rows of one input group, a position."""
    specs = {f"t{i}": HeadSpec(KINDS["regression"].head, 1, f"t{i}") for i in range(T)}
    config = EncoderConfig(
        "transformer", embedding=D, features=D, layers=LAYERS, heads=H, feed_forward=2 * D
    )
    modes = dict.fromkeys(specs, "bidirectional")
    net = build(config, HeadsConfig(), specs, modes, 20, sharing=sharing)
    shape = jax.ShapeDtypeStruct((R, S), np.int32)
    batch = dict.fromkeys(("tokens", "segments", "positions"), shape)
    key = jax.eval_shape(lambda: jax.random.key(0))
    params = jax.eval_shape(lambda k, b: init(net, k, dict.fromkeys(specs, b)), key, batch)

    def run(params, batch):
        return encode(net, shared_and_private(net, params, "t0"), "t0", batch).hidden

    return of_products(jax.make_jaxpr(run)(params, batch).jaxpr) / (R * S)


@pytest.fixture(scope="module")
def plain():
    return flops(SharingConfig())


@pytest.mark.parametrize("name", STRUCTURES)
def test_flops_of_a_position(name, plain):
    sharing, times, added = STRUCTURES[name]
    assert flops(sharing) == times * plain + added


def test_products_are_counted(plain):
    of_attention = 4 * S * D
    assert plain == LAYERS * (2 * (4 * D**2 + 2 * D * 2 * D) + of_attention)
