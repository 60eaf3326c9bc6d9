"""Parameters of a task that its encoder reads besides the shared ones."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class OwnParams(NamedTuple):
    """The parameters of a task that has private ones in the encoder, besides its head.

    Such a task has an input group of its own, whose encoder is called as
    ``(shared, private, inputs[, key])``. The gradient of both parts is that of the task's own loss;
    products of gradients are of the shared parameters alone.

    Attributes:
      private: what the encoder of its group reads besides the shared parameters.
      head: the parameters of its head.
    """

    private: Any
    head: Any


def private_of(params: Any) -> tuple[Any, ...]:
    """Of the parameters of a task what its encoder reads, as a tuple of one; empty if nothing."""
    return (params.private,) if isinstance(params, OwnParams) else ()


def head_of(params: Any) -> Any:
    """Of the parameters of a task those of its head."""
    return params.head if isinstance(params, OwnParams) else params


def with_private_gradient(gradient: Any, of_private: tuple[Any, ...]) -> Any:
    """The gradient of a task's parameters, of which the encoder's VJP gave the private part.

    Args:
      gradient: with respect to the head; of `OwnParams` with zeros in place of the private part.
      of_private: the gradient of the private part, as a tuple of one; empty if there is none.
    """
    return gradient._replace(private=of_private[0]) if of_private else gradient


def refuse_private(head_params: Mapping[str, Any], what: str) -> None:
    """Raises ValueError, with `what` cannot have them, if a task has private parameters."""
    for task, params in head_params.items():
        if isinstance(params, OwnParams):
            raise ValueError(f"{what}: task {task!r} has private parameters in the encoder")
