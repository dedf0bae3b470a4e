"""Reading a manifest: its parts, and the rows of one."""

from typing import Any

from tasks.contracts.values import Artifact, Part
from tasks.store.artifacts import fetch_file
from tasks.store.lines import from_lines
from tasks.store.objects import Store


def parts_of(manifest: Artifact) -> list[Part]:
    """Return the parts that the manifest was cut into."""
    return [Part(**part, manifest=manifest) for part in manifest.facts["parts"]]


def rows_of(part: Part, store: Store) -> list[dict[str, Any]]:
    """Return the manifest's rows of one part, in order."""
    rows = from_lines(fetch_file(store, part.manifest.file("manifest.jsonl")).read_bytes())
    return [row for row in rows if row["part"] == part.name]
