"""One class for each target: what classification and tagging share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jax


def predicted_class(predictions: "jax.Array", num_classes: int) -> "jax.Array":
    """Class ids int32 `[...]` of predictions `[..., outputs]`.

    A single logit is that of the second of two classes, or of the only class there is.
    """
    import jax.numpy as jnp

    if num_classes == 2 and predictions.shape[-1] == 1:
        return (predictions[..., 0] > 0).astype(jnp.int32)
    return jnp.argmax(predictions, axis=-1).astype(jnp.int32)


def weighted_by_class(
    losses: "jax.Array", targets: "jax.Array", class_weights: "Sequence[float] | jax.Array"
) -> "jax.Array":
    """Losses `[...]`, each times the weight of the class of its target; no weights for ones."""
    import jax.numpy as jnp

    if not len(class_weights):
        return losses
    return losses * jnp.asarray(class_weights, jnp.float32)[targets]
