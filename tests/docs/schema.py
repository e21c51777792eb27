"""Write docs/schema/microscopy-metadata.json, the published schema of the metadata document.

``python tests/docs/schema.py`` brings the file up to date; a test compares the two.
"""

from __future__ import annotations

import json
from pathlib import Path

from projectome.io.metadata.ensp import metadata_schema

FILE = Path(__file__).resolve().parents[2] / "docs" / "schema" / "microscopy-metadata.json"


def text() -> str:
    """Return the schema as it is published."""
    return json.dumps(metadata_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
