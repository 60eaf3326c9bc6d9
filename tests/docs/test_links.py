"""Links in the documentation lead to files and headings that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "benchmarks/README.md"]
    + [ROOT / "mtljax/data/embedded/LICENSES.md"]
)
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")

pytestmark = pytest.mark.skipif(
    not (ROOT / "docs").is_dir(), reason="a source distribution has no docs"
)


def prose(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Of the headings, as forges write them."""
    found = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def dead_links(page: Path) -> list[str]:
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    dead = []
    for place, anchor in LINK.findall(text):
        if "://" in place:
            continue
        target = (page.parent / place) if place else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(f"{place}#{anchor}" if anchor else place)
    return dead


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_is_dead(page):
    assert dead_links(page) == []


def test_a_dead_link_is_found(tmp_path):
    page = tmp_path / "a.md"
    page.write_text(
        "# One, two\n[a](#one-two) [b](#three) [c](none.md) [d](a.md#one-two)\n`[e](f)`"
    )
    assert dead_links(page) == ["#three", "none.md"]
