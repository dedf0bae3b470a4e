"""Tables of clips, read strictly. No quoting magic in TSV, no missing values invented, no row lost.

Two stray quotes in different rows make csv, pandas, datasets, polars and pyarrow drop the rows between them; "NA" and "null" are words.
So rows are split here by line feed alone, and TSV by tab alone. CSV needs quoting: there each line is read by itself, so that a quote that
does not close spoils its own row and no other. A row that cannot be read is given as the words that say why.
"""

import json
import re
from collections.abc import Callable, Iterator

from tasks.contracts.errors import CorpusError

CELL = re.compile(r'(?:"((?:[^"]|"")*)"|([^",]*))(,|$)', re.DOTALL)  # of CSV: in quotes or without any
Row = tuple[int, dict[str, str] | str]  # its line number, and its cells by column, or what is wrong with it


def read_table(data: bytes, name: str, may_be_empty: bool = False) -> Iterator[Row]:
    """Yield each row of a .tsv, .csv or .jsonl table with its line number; instead of cells, a row that does not fit gives the reason.

    Args:
        data: the whole table, UTF-8 with or without a byte order mark.
        name: its file name; the suffix decides the format.
        may_be_empty: whether a header without rows is one.

    Raises:
        CorpusError: if it is not UTF-8, has no rows, or doubles a column.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise CorpusError(f"{name}: UTF-16; save the table as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{name}: not UTF-8 at byte {error.start}; save the table as UTF-8") from error
    suffix = name.rsplit(".", 1)[-1].lower()
    if suffix in ("jsonl", "json"):
        rows = _jsonl(text)
    else:
        rows = _under_header(_lines(text), _csv_cells if suffix == "csv" else _tsv_cells, name)
    n_rows = 0
    for n_rows, row in enumerate(rows, start=1):  # noqa: B007  (read below)
        yield row
    if not n_rows and not (may_be_empty and text.strip()):
        raise CorpusError(f"{name}: empty; expected a row per clip, in CSV and TSV below a header line")


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not empty, without their ends. `splitlines` would also split at U+2028 and a lone carriage return."""
    start, number = 0, 0
    while start < len(text):
        number += 1
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        if line := text[start:end].removesuffix("\r"):
            yield number, line
        start = end + 1


def _under_header(lines: Iterator[tuple[int, str]], cells_of: Callable[[str], list[str]], name: str) -> Iterator[Row]:
    number, first = next(lines, (0, ""))
    try:
        header = [column.strip() for column in cells_of(first)]
    except ValueError as error:
        raise CorpusError(f"{name}, line {number}: {error}") from error
    if len(set(header)) != len(header):
        twice = next(column for column in header if header.count(column) > 1)
        raise CorpusError(
            f"{name}, line {number}: column {twice[:80]!r} stands twice in the header {header!s:.300}; "
            "the first line must name the columns, and lines end with a line feed"
        )
    for number, line in lines:
        try:
            cells = cells_of(line)
        except ValueError as error:
            yield number, str(error)
            continue
        if len(cells) != len(header):
            yield number, f"{len(cells)} cells, expected {len(header)} as in the header"
        else:
            yield number, dict(zip(header, cells, strict=True))


def _tsv_cells(line: str) -> list[str]:
    return line.split("\t")


def _csv_cells(line: str) -> list[str]:
    """Return the cells of one line (RFC 4180, without cells over several lines); ValueError if a quote is out of place."""
    cells: list[str] = []
    place = 0
    while True:
        cell = CELL.match(line, place)
        if not cell:
            why = "a cell stays on one line, and a quote inside a quoted cell is written twice"
            raise ValueError(f"a quote out of place after column {len(cells)}; {why}")
        cells.append(cell[2] if cell[1] is None else cell[1].replace('""', '"'))
        if cell.end() == len(line) and not cell[3]:
            return cells
        place = cell.end()


def _jsonl(text: str) -> Iterator[Row]:
    """Yield every row with the columns of all, so that what the first one lacks is still a column."""
    rows = [(number, _object(line)) for number, line in _lines(text) if line.strip()]
    columns = dict.fromkeys(column for _, row in rows if isinstance(row, dict) for column in row)
    for number, row in rows:
        yield number, row if isinstance(row, str) else {column: row.get(column, "") for column in columns}


def _object(line: str) -> dict[str, str] | str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    if "\\u" in line and not _is_text(row):
        return "half a character, a surrogate \\ud800 to \\udfff that stands alone"
    if not isinstance(row, dict):
        return f"a {type(row).__name__}, expected an object per line"
    return {str(key): value if isinstance(value, str) else json.dumps(value) for key, value in row.items() if value is not None}


def _is_text(row: object) -> bool:
    """Say whether UTF-8 can hold every text in a row."""
    try:
        return bool(json.dumps(row, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        return False
