"""Builds the site: lays the sources in `build/site/source`, and has Sphinx make pages of them.

    python docs/site/build.py [DIRECTORY]    # build/site/html by default

Sources are the Markdown files of the repository as they are, the reference from the docstrings,
and a page for each method. Warnings are errors.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import layout
import method_pages
import reference_pages

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "site"


def main() -> int:
    """Lay the sources and build; the exit code is that of Sphinx."""
    target = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else BUILD / "html"
    source = BUILD / "source"
    shutil.rmtree(source, ignore_errors=True)
    layout.lay(source)
    docs = source / "docs"
    for folder, pages in (("reference", reference_pages), ("methods", method_pages)):
        (docs / folder).mkdir()
        for name, text in pages.pages().items():
            (docs / folder / name).write_text(text, encoding="utf-8")
    _change(docs / "reference.md", reference_pages.overview)
    _change(docs / "weighting.md", method_pages.linked)
    pictures = source / "benchmarks/results/toy_pareto"
    pictures.mkdir(parents=True, exist_ok=True)
    for picture in method_pages.figures():
        shutil.copy2(picture, pictures)
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-E", "-W", "--keep-going"]
    places = [
        "-c",
        str(ROOT / "docs/site"),
        "-d",
        str(BUILD / "doctrees"),
        str(source),
        str(target),
    ]
    status = subprocess.run([*command, *places], check=False).returncode
    if status == 0:
        print(f"site: {target / 'index.html'}")
    return status


def _change(page: Path, change: Callable[[str], str]) -> None:
    page.write_text(change(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
