"""Write the part of docs/command-line.md that comes from the verbs themselves.

``python tests/docs/command_line.py`` brings the page up to date; a test compares the two.
"""

from __future__ import annotations

from pathlib import Path

from projectome.cli.help import verb_page
from projectome.cli.main import VERBS, load

PAGE = Path(__file__).resolve().parents[2] / "docs" / "command-line.md"
MARK = "<!-- below: written by tests/docs/command_line.py -->\n"
WIDTH = 84


def reference() -> str:
    """Return the help of all verbs as Markdown, by the headings of ``projectome --help``."""
    lines = []
    panel = ""
    for name, verb in VERBS.items():
        if verb.panel != panel:
            panel = verb.panel
            lines += [f"## {panel}", ""]
        text = verb_page(load(name), f"projectome {name}", WIDTH).rstrip()
        lines += [f"### {name}", "", "```text", text, "```", ""]
    return "\n".join(lines).replace("\x1b[1m", "").replace("\x1b[0m", "").rstrip() + "\n"


def page() -> str:
    """Return the whole page, its hand-written part unchanged."""
    written, mark, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    return written + mark + "\n" + reference()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
