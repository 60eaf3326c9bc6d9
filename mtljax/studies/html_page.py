"""Pieces of an HTML file that needs nothing else: no network, no scripts, light or dark."""

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

from mtljax.training.persistence.atomic_write import replacing

_STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --pale: #ddd; --soft: #f5f5f5; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --paper: #16181a; --pale: #3a3d40; --soft: #202326; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 62rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
h3 { font-size: 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--pale);
  white-space: nowrap; }
th { white-space: normal; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0;
  background: var(--paper); }
td.cell { color: #111; min-width: 3.5rem; text-align: center; }
.left { text-align: left; }
td.own { text-align: center; font-weight: 600; }
.helps { color: #00734f; font-weight: 600; } .costs { color: #b34700; font-weight: 600; }
@media (prefers-color-scheme: dark) { .helps { color: #4fc79b; } .costs { color: #f0935a; } }
.advice { background: var(--soft); padding: .6rem 1rem; border-radius: .4rem; }
div.cell { color: #111; min-width: 2.5rem; text-align: center; padding: 0 .3rem; }
.passage { white-space: normal; text-align: left; min-width: 16rem; }
.bar { min-width: 9rem; text-align: right; padding: 0 .3rem;
  background: linear-gradient(to right, #3d94c9aa var(--share), transparent var(--share)); }
img { width: 100%; min-width: 40rem; background: #fff; border-radius: .4rem; }
small { opacity: .8; }
"""


def write_page(path: str | Path, title: str, sections: Iterable[str]) -> Path:
    """Write a page; it appears when it is complete.

    Args:
      path: of the file.
      title: of the page, as text.
      sections: HTML.

    Returns:
      The path.
    """
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escaped(title)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(sections)
        + "\n</body></html>\n"
    )
    target = Path(path)
    with replacing(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return target


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column stays in view; `head` is text, the cells of `rows` are HTML."""
    top = "".join(f"<th>{escaped(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{top}</tr>{body}</table></div>'


def image(path: Path, title: str) -> str:
    """A PNG file, inside the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    image = f'<img alt="{escaped(title)}" src="data:image/png;base64,{data}">'
    return f'<div class="wide">{image}</div>'


def escaped(value: object) -> str:
    """A value as HTML, escaped."""
    return html.escape(str(value))


def colour(value: float, largest: float) -> str:
    """The background of a cell: the bluer the better, the more orange the worse."""
    # Blue helps, orange hurts: told apart by everybody.
    red, green, blue = (0, 114, 178) if value >= 0 else (213, 94, 0)
    share = min(abs(value) / largest, 1) * 0.8
    mixed = [round(255 + (part - 255) * share) for part in (red, green, blue)]
    return f"rgb({mixed[0]},{mixed[1]},{mixed[2]})"
