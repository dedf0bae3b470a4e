"""JSON Lines: one object a line, readable by a person, a shell and every table tool."""

import json
from collections.abc import Iterable
from typing import Any


def to_lines(rows: Iterable[dict[str, Any]]) -> bytes:
    """Return the rows as JSON Lines, UTF-8."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def from_lines(data: bytes) -> list[dict[str, Any]]:
    """Return the rows of JSON Lines."""
    return [json.loads(line) for line in data.decode().split("\n") if line]
