import importlib

import pytest


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples for the intervals of a command, of which tests of their own say that they cover."""
    for name in ("comparison.compare", "relate.relate"):
        module, _, function = name.partition(".")
        found = getattr(importlib.import_module(f"mtljax.studies.{module}"), function)
        assert found.__kwdefaults__["draws"] == 2000
        monkeypatch.setitem(found.__kwdefaults__, "draws", 100)
