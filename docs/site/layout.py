"""The Markdown of the repository, laid as Sphinx reads it, in the order of `docs/README.md`."""

import ast
import json
import os
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONTENTS = Path("docs/README.md")
GENERATED = {"Begin here": (2, "docs/gallery"), "Reference": (0, "docs/methods/index")}
"""Pages that no file of the repository holds, by the heading under which they come, and where."""

EXAMPLES = ("from_a_notebook", "own_model", "linen_model", "nnx_model", "equinox_model")
EXAMPLES += ("own_loss", "own_weighting", "own_kind", "own_loop", "method_table", "conflict_paths")
EXAMPLES += ("preferences", "single_samples", "task_groups", "learned_relation", "learned_rates")
EXAMPLES += ("low_rank_updates", "merged_models", "exported_answers", "eight_devices")
"""In the order of the gallery."""

RAN = ROOT / "docs/examples/ran.json"
"""What each printed when it last ran, and when; `run_examples.py` writes it."""

LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")


def pages() -> list[Path]:
    """The Markdown files of the site, relative to the repository: of `docs`, and what it lists."""
    contents = (ROOT / CONTENTS).read_text(encoding="utf-8")
    listed = {(CONTENTS.parent / place) for place, _ in LINK.findall(contents)}
    found = {path.relative_to(ROOT) for path in (ROOT / "docs").glob("**/*.md")} - {CONTENTS}
    return sorted(found | {Path(os.path.normpath(path)) for path in listed})


def lay(target: Path) -> None:
    """Copies the pages, and the files that they link to, to `target`; writes its front page.

    README is the front page; what `docs/README.md` lists, by its headings, is in the side bar.
    """
    for page in pages():
        text = (ROOT / page).read_text(encoding="utf-8")
        _write(target / page, moved_links(text, page, target))
    _write(target / "docs/gallery.md", moved_links(gallery(), Path("docs/gallery.md"), target))
    front = (ROOT / "README.md").read_text(encoding="utf-8")
    _write(target / "index.md", moved_links(front, Path("README.md"), target) + trees())


def moved_links(text: str, page: Path, target: Path) -> str:
    """A page with links to README leading to the front page; files that it names come along."""

    def link(match: re.Match[str]) -> str:
        place, anchor = match[1], match[2] or ""
        file = (ROOT / page.parent / place).resolve()
        if "://" in place or not file.exists():
            return match[0]
        inside = file.relative_to(ROOT)
        if inside in (Path("README.md"), CONTENTS):
            return f"]({'../' * len(page.parent.parts)}index.md{anchor})"
        if file.is_file() and file.suffix != ".md":
            (target / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target / inside)
        return match[0]

    return LINK.sub(link, text)


def example(name: str) -> Path:
    """The file of an example."""
    return ROOT / "docs/examples" / f"{name}.py"


def ran() -> dict[str, dict[str, str]]:
    """By example the date of its last run, the digest of its file then, and what it printed."""
    return json.loads(RAN.read_text(encoding="utf-8")) if RAN.is_file() else {}


def gallery() -> str:
    """The examples, each with what its docstring says, its picture and what it printed."""
    runs = ran()
    parts = [
        "# Examples",
        "",
        "Files of `docs/examples/`, each run by the tests; from a checkout with",
    ]
    parts += ["`.venv/bin/python docs/examples/NAME.py`.", ""]
    for name in EXAMPLES:
        path = example(name)
        text = path.read_text(encoding="utf-8")
        title, _, rest = (ast.get_docstring(ast.parse(text)) or "").partition("\n\n")
        code = text[text.index('"""', 3) + 3 :].strip()
        parts += [f"## {title.rstrip('.')}", "", rest, "", f"`docs/examples/{path.name}`"]
        parts += [f"ran last on {runs[name]['date']}.", ""]
        if (ROOT / f"docs/images/examples/{name}.png").is_file():
            parts += [f"![{title.rstrip('.')}](images/examples/{name}.png)", ""]
        parts += ["```python", code, "```", ""]
        if printed := runs[name]["printed"]:
            parts += ["It prints", "", "```text", printed, "```", ""]
    return "\n".join(parts)


def trees() -> str:
    """The side bar: a tree a heading of the list of pages, hidden in the page itself."""
    contents = (ROOT / CONTENTS).read_text(encoding="utf-8")
    found = []
    for section in re.split(r"^## ", contents, flags=re.MULTILINE)[1:]:
        title, _, rest = section.partition("\n")
        listed = [_from_root(place) for place, _ in LINK.findall(rest) if place.endswith(".md")]
        if title in GENERATED:
            listed.insert(*GENERATED[title])
        names = "\n".join(listed)
        found.append(f"```{{toctree}}\n:hidden:\n:caption: {title}\n\n{names}\n```\n")
    return "\n" + "\n".join(found)


def _from_root(place: str) -> str:
    return (ROOT / "docs" / place).resolve().relative_to(ROOT).with_suffix("").as_posix()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
