"""Builds the site: lays the sources in `build/site/source`, and has Sphinx make pages of them.

    python docs/site/build.py [DIRECTORY]    # build/site/html by default

Sources are the Markdown files of the repository as they are, the reference from the docstrings,
and a page for each method. Warnings are errors.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import layout
import reference_pages

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "site"


def main() -> int:
    """Lay the sources and build; the exit code is that of Sphinx."""
    target = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else BUILD / "html"
    source = BUILD / "source"
    shutil.rmtree(source, ignore_errors=True)
    layout.lay(source)
    reference = source / "docs" / "reference"
    reference.mkdir()
    for name, text in reference_pages.pages().items():
        (reference / name).write_text(text, encoding="utf-8")
    overview = source / "docs" / "reference.md"
    overview.write_text(reference_pages.overview(overview.read_text(encoding="utf-8")))
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


if __name__ == "__main__":
    sys.exit(main())
