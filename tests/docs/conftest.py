"""The scripts of the site, which are no package."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SITE = Path(__file__).resolve().parents[2] / "docs" / "site"


@pytest.fixture
def site(monkeypatch) -> Callable[[str], ModuleType]:
    """Loads a script of the site by its name."""
    if not SITE.is_dir():
        pytest.skip("a source distribution has no docs")
    monkeypatch.syspath_prepend(str(SITE))

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, SITE / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load
