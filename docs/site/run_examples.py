"""Runs the examples, and keeps what they print, their pictures and the date for the gallery.

    python docs/site/run_examples.py [NAME ...]    # those that changed since they last ran

Each runs alone, in an empty directory, as a reader would run it. One that fails keeps its date.
"""

import datetime
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import layout

PICTURES = layout.ROOT / "docs/images/examples"


def digest(name: str) -> str:
    """Of the file of an example: what it was when it ran."""
    return hashlib.sha256(layout.example(name).read_bytes()).hexdigest()[:16]


def run(name: str) -> dict[str, str]:
    """Run an example; its pictures are moved to those of the site."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "MPLBACKEND": "agg",
            "MTLJAX_CACHE_DIR": "off",
            "PYTHONPATH": str(layout.ROOT),
        }
        command = [sys.executable, str(layout.example(name))]
        printed = subprocess.run(
            command, cwd=folder, env=environment, text=True, check=True, stdout=subprocess.PIPE
        ).stdout
        for picture in Path(folder).glob("*.png"):
            shutil.copy2(picture, PICTURES / picture.name)
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"date": date, "digest": digest(name), "printed": printed.rstrip()}


def main() -> int:
    """Run the examples that are named, or all that changed; the exit code is 1 if one failed."""
    ran = layout.ran()
    changed = [name for name in layout.EXAMPLES if ran.get(name, {}).get("digest") != digest(name)]
    failed = []
    for name in sys.argv[1:] or changed:
        print(name, flush=True)
        try:
            ran[name] = run(name)
        except subprocess.CalledProcessError:
            failed.append(name)
    ran = {name: ran[name] for name in layout.EXAMPLES if name in ran}
    layout.RAN.write_text(json.dumps(ran, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
