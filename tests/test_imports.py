"""Imports point downwards only, and importing the package is cheap."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import mtljax
from mtljax.errors import TRAIN

ROOT = Path(mtljax.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# What each part may import of the package, besides itself and `errors`; only `cli` may import all.
BELOW_TRAINING = {
    *("json_values", "yaml_values", "ranges", "span_schemes", "special_tokens", "versions"),
    *("local_paths", "file_lock", "remote_paths", "copies"),
    "span_steps",
    "digests",
    *("losses", "regularizers", "metrics", "solvers", "weighting", "gradients", "aggregation"),
    *("optim", "parallel", "step", "generation", "modules", "kinds", "tasks", "data", "presets"),
    *("pretrained", "merging", "linear", "mixtures"),
}
INTERNAL = {
    "errors": set(),
    "digests": set(),
    "ranges": set(),
    "json_values": set(),
    "local_paths": set(),
    "file_lock": set(),
    "remote_paths": {"local_paths"},
    "copies": {"local_paths", "file_lock", "remote_paths"},
    "yaml_values": set(),
    "special_tokens": set(),
    "span_schemes": set(),
    "span_steps": {"span_schemes"},
    "losses": set(),
    "regularizers": set(),
    "linear": set(),
    "merging": set(),
    "mixtures": set(),
    "sharing": set(),
    "solvers": set(),
    "metrics": {"span_schemes"},
    "weighting": {"solvers"},
    "gradients": {"solvers", "weighting"},
    "aggregation": {"solvers", "weighting", "gradients"},
    "relatedness": {"solvers", "weighting", "gradients"},
    "optim": {"solvers", "weighting", "gradients", "aggregation"},
    "parallel": set(),
    "step": {"solvers", "weighting", "gradients", "aggregation", "optim", "parallel"},
    "generation": set(),
    "kinds": {"losses", "metrics", "modules", "span_schemes", "span_steps"},
    "tasks": {"kinds", "span_schemes", "yaml_values"},
    "data": {"copies", "local_paths", "digests", "kinds", "tasks", "ranges", "special_tokens"},
    "modules": {"gradients", "ranges", "sharing", "special_tokens"},
    "presets": {"kinds", "tasks", "ranges", "modules", "data", "yaml_values"},
    "pretrained": {"ranges", "special_tokens", "parallel", "modules", "data"},
    "training": BELOW_TRAINING,
    "inference": BELOW_TRAINING | {"training"},
    "planning": BELOW_TRAINING | {"training"},
    "studies": BELOW_TRAINING | {"training", "inference", "relatedness"},
    "export": BELOW_TRAINING | {"training", "inference"},
    "versions": set(),
}
# The only third parties of the pure parts.
PURE = {"jax", "numpy"}
THIRD_PARTY = {
    "errors": set(),
    "span_schemes": set(),
    "span_steps": set(),
    "digests": {"numpy"},
    "ranges": set(),
    "json_values": set(),
    "yaml_values": {"yaml"},
    "losses": PURE,
    "regularizers": PURE,
    "linear": PURE | {"optax", "matplotlib"},
    "merging": PURE,
    "mixtures": PURE,
    "sharing": PURE,
    "solvers": PURE,
    "metrics": PURE | {"sacrebleu"},
    "weighting": PURE,
    "gradients": PURE | {"optax"},
    "aggregation": PURE | {"optax"},
    "relatedness": PURE | {"optax"},
    "optim": PURE | {"optax"},
    "parallel": PURE,
    "step": PURE | {"optax"},
    "generation": PURE,
    "kinds": PURE,
    "tasks": {"yaml"},
    "pretrained": PURE | {"safetensors"},
}
# The only parts that may import these.
OWNERS = {
    "flax": {"modules"},
    "grain": {"data"},
    "tensorflow_datasets": {"data"},
    "tokenizers": {"data"},
    "array_record": {"data"},
    "sacrebleu": {"metrics"},
    "safetensors": {"pretrained", "export"},
    "flatbuffers": {"export"},
}
# Within a package: modules that must not import others, at any depth.
INNER = {
    "mtljax.data.sources": tuple(
        f"mtljax.data.{room}" for room in ("files", "tfds", "catalogue", "encoding", "batching")
    ),
    "mtljax.data.files": tuple(
        f"mtljax.data.{room}" for room in ("tfds", "catalogue", "encoding", "batching")
    ),
    "mtljax.data.tokenizers": ("mtljax.data.encoding", "mtljax.data.batching"),
    "mtljax.data.encoding": ("mtljax.data.batching",),
    "mtljax.training": ("mtljax.inference", "mtljax.planning"),
    "mtljax.training.objectives": ("mtljax.training.step", "mtljax.training.loop"),
    "mtljax.weighting.common": tuple(
        f"mtljax.weighting.{path.stem}"
        for path in (ROOT / "weighting").glob("*.py")
        if path.stem != "__init__"
    ),
    "mtljax.inference": ("mtljax.planning",),
}
FORBIDDEN = ("flax.nnx", "flax.training", "tensorflow", "torch")


def imports(file: Path) -> set[str]:
    """All modules that a file imports, at any depth, by their full names."""
    package = ("mtljax", *file.relative_to(ROOT).parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *((node.module,) if node.module else ())))
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def part_of(module: str) -> str:
    return module.split(".")[1] if module.count(".") else ""


def part(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_point_downwards(file):
    names, own = imports(file), part(file)
    internal = {part_of(name) for name in names if name.split(".")[0] == "mtljax"}
    internal -= {own, "errors", "__version__", ""}
    third = {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"mtljax"}
    if own in INTERNAL:
        assert internal <= INTERNAL[own]
    if own in THIRD_PARTY:
        assert third <= THIRD_PARTY[own]
    if own not in ("cli", "__main__"):
        assert "cli" not in internal
    for package, owners in OWNERS.items():
        assert package not in third or own in owners
    for name in names:
        assert not any(name == bad or name.startswith(bad + ".") for bad in FORBIDDEN), name


@pytest.mark.parametrize("room", INNER)
def test_the_order_within_a_package(room):
    folder = ROOT.joinpath(*room.split(".")[1:])
    for file in sorted(folder.rglob("*.py")):
        for name in imports(file):
            for above in INNER[room]:
                assert name != above and not name.startswith(f"{above}."), (file, name)


def test_no_import_goes_in_a_circle():
    """Of modules, whatever is imported inside of functions or for types only included."""
    names = {module_of(file): file for file in FILES}
    edges = {
        name: {target for target in map(known_module(names), imports(file)) if target} - {name}
        for name, file in names.items()
    }
    left = {name: set(targets) for name, targets in edges.items()}
    while free := [name for name, targets in left.items() if not targets]:
        for name in free:
            del left[name]
        for targets in left.values():
            targets.difference_update(free)
    assert not left


def module_of(file: Path) -> str:
    parts = ("mtljax", *file.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def known_module(names: dict[str, Path]) -> Callable[[str], str]:
    """From an imported name to the module that it is, or is in; packages stand for nothing."""

    def find(name: str) -> str:
        while name and name not in names:
            name = name.rpartition(".")[0]
        return "" if not name or names[name].name == "__init__.py" else name

    return find


def test_every_part_has_a_place_in_the_order():
    parts = {part(file) for file in FILES} - {"__init__", "__main__", "cli"}
    assert parts == INTERNAL.keys()


def test_the_scan_sees_imports(tmp_path):
    text = "import a.b\nfrom c import d\ndef f():\n    from e.g import h\n"
    file = ROOT / "losses" / "does_not_exist.py"

    class Text(type(file)):
        def read_text(self, *args, **kwargs):
            return text

    assert imports(Text(file)) == {"a.b", "c.d", "e.g.h"}
    text = "from . import x\nfrom ..weighting import y\n"
    assert imports(Text(file)) == {"mtljax.losses.x", "mtljax.weighting.y"}


def loaded_by(code: str) -> set[str]:
    """The top-level packages that are loaded after running `code` in a fresh interpreter."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{code}\nimport sys; print(*sys.modules)"],
        cwd=ROOT.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.split(".")[0] for name in result.stdout.split()}


HEAVY = {
    *("flax", "sacrebleu", "grain", "tensorflow_datasets", "tokenizers", "tensorflow", "orbax"),
    "safetensors",
}


def test_importing_the_package_is_cheap():
    assert not loaded_by("import mtljax") & (HEAVY | {"jax", "optax"})


def test_the_pure_parts_load_jax_alone():
    rooms = ("losses", "metrics", "mixtures", "regularizers", "weighting")
    code = "import " + ", ".join(f"mtljax.{room}" for room in rooms)
    assert not loaded_by(code) & (HEAVY | {"optax"})


def test_tasks_and_their_kinds_load_no_jax():
    assert not loaded_by("import mtljax.tasks, mtljax.kinds") & (HEAVY | {"jax", "optax"})


WITHOUT_TRAIN = """
import sys

from mtljax.errors import TRAIN


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in TRAIN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Absent())
"""
CORE = ("aggregation", "errors", "generation", "gradients", "kinds", "linear", "losses", "merging")
CORE += ("metrics", "mixtures", "optim", "parallel", "regularizers", "relatedness", "sharing")
CORE += ("solvers", "step", "weighting")


def test_the_core_works_without_the_extra_train():
    """And what does not, says in one line how to mend it."""
    imported = "\n".join(f"import mtljax.{room}" for room in CORE)
    code = f"""{WITHOUT_TRAIN}
{imported}
import jax.numpy as jnp
from mtljax.cli import main

assert mtljax.losses.squared(jnp.ones(2), jnp.zeros(2)).tolist() == [1, 1]
for wanted in ("train", "modules", "data"):
    try:
        getattr(mtljax, wanted)
    except ModuleNotFoundError as error:
        assert str(error).endswith(": pip install 'mtljax[train]'") and error.name, error
    else:
        raise AssertionError(wanted)
assert main(["train"]) == 2 and main(["--help"]) == 0 and main(["--version"]) == 0"""
    assert not loaded_by(code) & HEAVY


def test_the_extra_train_is_known_by_the_names_of_imports():
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())["project"]
    names = {re.split("[<>=]", line)[0] for line in project["optional-dependencies"]["train"]}
    renamed = {"pyyaml": "yaml", "orbax-checkpoint": "orbax"}
    assert {renamed.get(name, name.replace("-", "_")) for name in names} == TRAIN
    assert {re.split("[<>=]", line)[0] for line in project["dependencies"]} == PURE | {"optax"}


def test_the_optimizer_loads_no_model_and_no_data():
    assert not loaded_by("import mtljax.optim") & HEAVY


PUBLIC = sorted(path.name for path in ROOT.iterdir() if (path / "__init__.py").exists())


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_subpackage_is_reachable(name):
    assert getattr(mtljax, name) is sys.modules[f"mtljax.{name}"]
    assert name in dir(mtljax)


def test_the_top_loads_what_users_begin_with():
    assert mtljax.train is mtljax.training.train
    assert mtljax.load_run is mtljax.inference.load_run
    assert {"train", "load_run"} <= set(dir(mtljax))


def test_subpackages_load_when_used():
    code = "import mtljax; assert mtljax.losses.softmax; assert mtljax.load_run; mtljax.train"
    assert "orbax" in loaded_by(code)
    assert not loaded_by("import mtljax; mtljax.losses.softmax") & HEAVY
    with pytest.raises(AttributeError, match="nonsense"):
        _ = mtljax.nonsense
