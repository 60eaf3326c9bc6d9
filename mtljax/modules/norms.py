"""Norms of a transformer: layer norm, or the root mean square alone."""

import flax.linen as nn
from jax.typing import DTypeLike

from mtljax.modules.architecture import Architecture
from mtljax.modules.named_axes import named, named_norm

# Their backward passes compute them again: normalized features in float32, which they would keep,
# take more memory than time.
_LayerNorm = nn.remat(nn.LayerNorm)
_RMSNorm = nn.remat(nn.RMSNorm)


def make_norm(
    architecture: Architecture,
    dtype: DTypeLike,
    name: str | None = None,
    *,
    remat: bool = True,
) -> nn.Module:
    """The norm of an architecture, over the last axis.

    Args:
      architecture: says which, its eps and its bias.
      dtype: of the result.
      name: of the module; None inside of `setup`.
      remat: whether the backward pass computes it again.
    """
    a, names = architecture, named_norm()
    if a.norm == "rms":
        rms = _RMSNorm if remat else nn.RMSNorm
        return rms(epsilon=a.norm_eps, dtype=dtype, name=name, scale_init=names["scale_init"])
    layer = _LayerNorm if remat else nn.LayerNorm
    return layer(
        epsilon=a.norm_eps,
        dtype=dtype,
        use_bias=a.norm_bias,
        use_fast_variance=a.fast_variance,
        name=name,
        **names,
    )


def head_norm(architecture: Architecture, dtype: DTypeLike, name: str) -> nn.Module:
    """The norm of queries or keys, over the features of a head."""
    scale = named(nn.initializers.ones, ("head_features",))
    return nn.RMSNorm(epsilon=architecture.norm_eps, dtype=dtype, name=name, scale_init=scale)
