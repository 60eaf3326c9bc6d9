"""Formulas as MathML, which browsers draw by themselves: the site loads nothing from elsewhere."""

from typing import Any

from docutils import nodes  # pyright: ignore[reportMissingModuleSource]
from latex2mathml.converter import convert  # pyright: ignore[reportMissingImports]
from sphinx.util import logging  # pyright: ignore[reportMissingImports]


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _inline(self: Any, node: Any) -> None:
    self.body.append(_mathml(node.astext(), node))
    raise nodes.SkipNode


def _block(self: Any, node: Any) -> None:
    text = node.astext().strip().rstrip("\\")
    if "\\\\" in text or "&" in text:
        text = rf"\begin{{aligned}}{text}\end{{aligned}}"
    self.body.append(f'<div class="formula">{_mathml(text, node, display="block")}</div>')
    raise nodes.SkipNode


def _mathml(text: str, node: Any, display: str = "inline") -> str:
    made = convert(text.replace("\\arg", "\\operatorname{arg}"), display=display)
    if "<mi>\\" in made:
        logging.getLogger(__name__).warning("not all of it is known: %s", text, location=node)
    return made
