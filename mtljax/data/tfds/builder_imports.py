"""The packages that the code of a TFDS builder needs, found by parsing it."""

import ast
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from types import ModuleType

from mtljax.data.tfds.tensorflow_stub import stub_has

_TFDS_ITSELF = ("tensorflow_datasets.core.", "tensorflow_datasets.public_api")
# Packages whose name differs from that of the attribute of `tfds.core.lazy_imports`.
_PACKAGES = {"PIL_Image": "PIL", "PIL_ImageDraw": "PIL", "gcsfs_store": "gcsfs", "os": ""}


def missing_packages(builder: type) -> list[str]:
    """The packages that a builder's code uses and that are not installed.

    Args:
        builder: a builder class of TFDS.

    Returns:
        Their names, sorted; `tensorflow` only if the code uses more of it than the stub has.
    """
    needed: set[str] = set()
    for module in _modules(builder):
        needed |= _needs(ast.parse(inspect.getsource(module)))
    return sorted(name for name in needed if importlib.util.find_spec(name) is None)


def _modules(builder: type) -> Iterator[ModuleType]:
    # The modules of the class and its bases, and those of the same folder that these import.
    seen: set[str] = set()
    waiting = [cls.__module__ for cls in builder.__mro__]
    while waiting:
        name = waiting.pop()
        module = sys.modules.get(name)
        if name in seen or module is None or not name.startswith("tensorflow_datasets."):
            continue
        seen.add(name)
        shared_builder = name.startswith(f"{_TFDS_ITSELF[0]}dataset_builders.")
        if name.startswith(_TFDS_ITSELF) and not shared_builder:
            continue
        yield module
        folder = name.rpartition(".")[0]
        for value in list(vars(module).values()):
            other = value.__name__ if isinstance(value, ModuleType) else None
            if other and other.startswith(f"{folder}."):
                waiting.append(other)


def _needs(tree: ast.Module) -> set[str]:
    aliases: dict[str, str] = {}
    needed: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module.endswith("lazy_imports_utils"):
                aliases |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in ("tensorflow", "apache_beam"):
                    aliases[alias.asname or alias.name] = alias.name.split(".")[0]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        first, _, rest = _dotted(node).partition(".")
        if aliases.get(first) == "tensorflow":
            if not stub_has(rest):
                needed.add("tensorflow")
        elif first in aliases:
            needed.add(aliases[first])
        elif ".lazy_imports." in f".{rest}":
            name = rest.partition("lazy_imports.")[2].partition(".")[0]
            needed.add(_PACKAGES.get(name, name))
        elif first == "tfds" and rest.split(".")[0] == "beam":
            needed.add("apache_beam")
    return needed - {""}


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""
