"""A page of the reference for each public package, from the index of `scripts/reference`."""

import functools
import importlib.machinery
import importlib.util
import inspect
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def index() -> ModuleType:
    """The script that knows what is exported."""
    loader = importlib.machinery.SourceFileLoader("reference", str(ROOT / "scripts/reference"))
    spec = importlib.util.spec_from_loader("reference", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@functools.cache
def names() -> frozenset[str]:
    """The full names of all that is exported."""
    return frozenset(
        f"{module}.{name}" for module, path in _modules() for name in index().exported(path)
    )


def pages() -> dict[str, str]:
    """The pages, reStructuredText by the name of the file."""
    first: dict[int, str] = {}
    return {f"{module}.rst": _page(module, path, first) for module, path in _modules()}


def _modules() -> list[tuple[str, Path]]:
    return index().public_modules()


def _page(module: str, path: Path, first: dict[int, str]) -> str:
    """A page; `first` says where a value of an earlier page is described, and learns this one's."""
    package = importlib.import_module(module)
    title = f"``{module}``"
    document = [title, "=" * len(title), "", f".. automodule:: {module}", ""]
    for name, line in index().exported(path).items():
        value, full = getattr(package, name), f"{module}.{name}"
        if callable(value) and (described := first.setdefault(id(value), full)) != full:
            kind = "class" if inspect.isclass(value) else "function"
            document += [f".. py:{kind}:: {full}", "", f"   The same as `{described}`.", ""]
        else:
            document += [*_entry(full, value, line), ""]
    return "\n".join(document)


def _entry(full: str, value: object, line: str) -> list[str]:
    if inspect.isclass(value):
        return [f".. autoclass:: {full}", "   :members:"]
    if callable(value) and hasattr(value, "__code__"):
        return [f".. autofunction:: {full}"]
    # What a constant is says the line after it, which an import does not keep.
    shown = repr(value)
    short = len(shown) <= 80 and " at 0x" not in shown
    return [f".. py:data:: {full}", *([f"   :value: {shown}"] if short else []), "", f"   {line}."]


def overview(page: str) -> str:
    """The list of all names, with links to where each is described, and the pages beneath."""
    listed = "\n".join(f"reference/{module}" for module, _ in _modules())
    linked, module = [], ""
    for line in page.splitlines():
        if line.startswith("## `"):
            module = line.strip("# `")
            line = f"## [`{module}`](reference/{module}.rst)"
        elif line.startswith("| `"):
            name = line.split("`")[1]
            rest = line.partition(f"`{name}`")[2]
            line = f"| [`{name}`](#{module}.{name}){rest}"
        linked.append(line)
    tree = f"```{{toctree}}\n:hidden:\n:maxdepth: 1\n\n{listed}\n```\n"
    return "\n".join(linked) + "\n\n" + tree
