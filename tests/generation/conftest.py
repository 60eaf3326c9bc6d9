import jax
import pytest


@pytest.fixture(autouse=True, scope="package")
def quick_compilation():
    """These programs are tiny and run once: most of the time would go into optimizing them."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
