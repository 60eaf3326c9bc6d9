"""What Sphinx reads: every page is in the side bar, every exported name on a page."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_page_is_listed_once(site):
    layout = site("layout")
    listed = re.findall(r"^[\w/.-]+$", layout.trees(), re.MULTILINE)
    pages = [page.with_suffix("").as_posix() for page in layout.pages()]
    assert sorted(listed) == sorted([*pages, "docs/gallery", "docs/methods/index"])


def test_links_lead_where_they_do_in_the_repository(site, tmp_path):
    layout = site("layout")
    text = layout.moved_links(
        "[a](../README.md#results) [b](tasks.md#kinds) [c](../LICENSE) [d](https://e.f)",
        Path("docs/x.md"),
        tmp_path,
    )
    assert text == "[a](../index.md#results) [b](tasks.md#kinds) [c](../LICENSE) [d](https://e.f)"
    assert (tmp_path / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_every_exported_name_has_an_entry(site):
    reference = site("reference_pages")
    entries = set()
    for text in reference.pages().values():
        entries |= set(re.findall(r"^\.\. (?:auto|py:)(?!module)\w+:: (\S+)", text, re.MULTILINE))
    assert entries == reference.names() and len(entries) > 500


def test_docstrings_become_restructured_text(site):
    lines = """Does `this`, see `solvers.box` and ``x``.

    | input | weights |
    |---|---|
    | one task | 1 |
    """.splitlines()
    assert site("docstrings").to_rst(lines, {"mtljax.solvers.box"}.__contains__) == [
        "Does `this`, see `solvers.box <mtljax.solvers.box>` and ``x``.",
        "",
        "",
        "    .. list-table::",
        "       :header-rows: 1",
        "",
        "       * - input",
        "         - weights",
        "       * - one task",
        "         - 1",
        "",
        "    ",
    ]


def test_a_method_page_has_what_was_measured(site):
    methods = site("method_pages")
    pages = methods.pages()
    row = next(
        row
        for row in methods.rows("weighting_cost")
        if (row["method"], row["tasks"]) == ("mgda", 8)
    )
    assert f"- {row['inside_microseconds']:.1f} µs" in pages["mgda.rst"]
    assert ".. autofunction:: mtljax.weighting.mgda" in pages["mgda.rst"]
    assert (
        "has not been timed" in pages["dwa.rst"] and "has not been timed" not in pages["mgda.rst"]
    )
    assert len(pages) >= 39 and all(
        f":doc:`{name[:-4]}`" in pages["index.rst"] for name in pages if name != "index.rst"
    )
    assert methods.linked("| `mgda` | x |\n| `every` | y |") == (
        "| [`mgda`](methods/mgda.rst) | x |\n| `every` | y |"
    )
