"""The builders of the TFDS catalogue, those of modules that are not yet imported included."""

import importlib
from typing import Any

from mtljax.errors import UserError
from mtljax.tasks import suggestion

_TEXT = ("text", "question_answering", "summarization", "translate", "text_simplification")


def catalogue_names() -> frozenset[str]:
    """The names of the sets in the installed TFDS catalogue, all sets of text included."""
    from tensorflow_datasets.core import registered

    # Older sets are known only once their module is imported, which lazy imports put off.
    for part in _TEXT:
        importlib.import_module(f"tensorflow_datasets.{part}")
    packages = registered._get_existing_dataset_packages("datasets")
    return frozenset({*registered._DATASET_REGISTRY, *packages})


def find_builder(name: str) -> Any:
    """The builder class of a set of the TFDS catalogue.

    Args:
        name: name of the set; its config and version do not matter here.

    Raises:
        UserError: if there is no such set.
    """
    import tensorflow_datasets as tfds

    base = name.split("/")[0].split(":")[0]
    names = catalogue_names()
    if base not in names:
        close = suggestion(base, sorted(names))
        listing = "" if close.startswith("; known") else close
        raise UserError(f"data set {name!r}: the TFDS catalogue has no {base!r}{listing}")
    try:
        return tfds.builder_cls(base)
    except ImportError as error:
        raise UserError(
            f"data set {name!r} needs what is not installed: pip install {error.name}"
        ) from error
