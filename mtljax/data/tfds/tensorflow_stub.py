"""A stub of TensorFlow: the few functions with which TFDS downloads and unpacks files."""

import contextlib
import glob
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


class _Unimplemented(Exception):
    """Raised for an address, so that TFDS downloads the file instead of copying it."""


def _copy(source: Any, target: Any, overwrite: bool = False) -> None:
    if "://" in os.fspath(source):
        raise _Unimplemented(source)
    shutil.copyfile(source, target)


def _open(name: Any, mode: str = "r") -> Any:
    return open(name, mode, encoding=None if "b" in mode else "utf-8")


def _as_text(value: str | bytes, encoding: str = "utf-8") -> str:
    return value.decode(encoding) if isinstance(value, bytes) else value


STUB = SimpleNamespace(
    io=SimpleNamespace(
        gfile=SimpleNamespace(
            GFile=_open,
            exists=os.path.exists,
            isdir=os.path.isdir,
            listdir=os.listdir,
            glob=glob.glob,
            copy=_copy,
        )
    ),
    compat=SimpleNamespace(as_text=_as_text),
    errors=SimpleNamespace(UnimplementedError=_Unimplemented, NotFoundError=FileNotFoundError),
    string=np.str_,
    bool=np.bool_,
    **{name: getattr(np, name) for name in ("int32", "int64", "uint8", "float32", "float64")},
)
"""The functions and types of TensorFlow that suffice to prepare most sets of text."""


def stub_has(name: str) -> bool:
    """Whether the stub has what a dotted name such as `io.gfile.GFile` means in TensorFlow."""
    value: Any = STUB
    for part in name.split("."):
        if not hasattr(value, part):
            # Attributes of a function or type that the stub has are those of the real one.
            return value is not STUB and not isinstance(value, SimpleNamespace)
        value = getattr(value, part)
    return True


@contextlib.contextmanager
def tensorflow_stubbed() -> Iterator[None]:
    """The modules of TFDS use the stub within this context, where TensorFlow is not installed."""
    from tensorflow_datasets.core.download import downloader, extractor  # noqa: F401
    from tensorflow_datasets.core.utils import lazy_imports_utils

    if importlib.util.find_spec("tensorflow") is not None:
        yield
        return
    lazy = lazy_imports_utils.tensorflow
    modules: list[ModuleType] = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("tensorflow_datasets.") and vars(module).get("tf") is lazy
    ]
    try:
        for module in modules:
            vars(module)["tf"] = STUB
        yield
    finally:
        for module in modules:
            vars(module)["tf"] = lazy
