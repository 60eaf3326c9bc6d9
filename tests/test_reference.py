"""Every exported name stands in the reference, with a line that says what it is."""

import importlib
import importlib.machinery
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "reference"

pytestmark = pytest.mark.skipif(
    not (ROOT / "docs").is_dir(), reason="a source distribution has no docs"
)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("reference", str(SCRIPT))
    spec = importlib.util.spec_from_loader("reference", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_page_is_what_the_script_writes(script):
    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert page == script.reference(), "run scripts/reference"


def test_every_name_has_a_first_line(script):
    for module, path in script.public_modules():
        for name, line in script.exported(path).items():
            assert line, f"{module}.{name} has no docstring"


def test_the_names_are_those_that_python_sees(script):
    """Read from the sources; compared with what an import gives."""
    for module, path in script.public_modules():
        loaded = importlib.import_module(module)
        for name in script.exported(path):
            assert hasattr(loaded, name), f"{module}.{name}"
        # What a package hands on is written as ``import x as x``.
        text = path.read_text(encoding="utf-8")
        if path.name == "__init__.py" and module != "mtljax":
            assert set(re.findall(r"import (\w+) as \1\b", text)) <= set(script.exported(path))


def test_a_name_that_is_missing_is_found(script, tmp_path):
    """The check can fail: a page without a name is another page."""
    page = script.reference()
    shorter = re.sub(r"\| `train` \|.*\n", "", page)
    assert shorter != page
