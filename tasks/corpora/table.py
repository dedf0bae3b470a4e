"""Tables of clips, read strictly. No quoting magic in TSV, no missing values invented, no row lost.

Two stray quotes in different rows make csv, pandas, datasets, polars and pyarrow drop the rows between them; "NA" and "null" are words.
So TSV is split here, by line feed and tab alone. CSV needs quoting: there a quote that does not close on its line is refused with it.
"""

import csv
import io
import json
from collections.abc import Iterator

from tasks.contracts.errors import CorpusError


def read_table(data: bytes, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row of a .tsv, .csv or .jsonl table with its line number.

    Args:
        data: the whole table, UTF-8 with or without a byte order mark.
        name: its file name; the suffix decides the format.

    Raises:
        CorpusError: if it is not UTF-8, has no rows, doubles a column, or a row does not fit the header.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{name}: not UTF-8 at byte {error.start}; save the table as UTF-8") from error
    suffix = name.rsplit(".", 1)[-1].lower()
    if suffix in ("jsonl", "json"):
        rows = _jsonl(text, name)
    else:
        rows = _under_header(_csv(text, name) if suffix == "csv" else _tsv(text), name)
    n_rows = 0
    for n_rows, row in enumerate(rows, start=1):  # noqa: B007  (read below)
        yield row
    if not n_rows:
        raise CorpusError(f"{name}: empty; expected a row per clip, in CSV and TSV below a header line")


def _under_header(rows: Iterator[tuple[int, list[str]]], name: str) -> Iterator[tuple[int, dict[str, str]]]:
    header = [column.strip() for column in next(rows, (0, []))[1]]
    if len(set(header)) != len(header):
        raise CorpusError(f"{name}: a column name stands twice in the header {header}")
    for line, cells in rows:
        if len(cells) != len(header):
            raise CorpusError(f"{name}, line {line}: {len(cells)} cells, expected {len(header)} as in the header")
        yield line, dict(zip(header, cells, strict=True))


def _tsv(text: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.removesuffix("\r"):
            yield number, line.removesuffix("\r").split("\t")


def _csv(text: str, name: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1  # where the row begins; a quote that closes in a later row would swallow the rows between
    try:
        for cells in reader:
            if reader.line_num > line:
                raise CorpusError(f"{name}, line {line}: a quoted cell goes on to line {reader.line_num}; expected a row per line")
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise CorpusError(f"{name}, line {line}: {error}; a quote inside a quoted cell is written twice") from error


def _jsonl(text: str, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield every row with the columns of all, so that what the first one lacks is still a column."""
    rows = list(_objects(text, name))
    columns = dict.fromkeys(column for _, row in rows for column in row)
    for number, row in rows:
        yield number, {column: row.get(column, "") for column in columns}


def _objects(text: str, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise CorpusError(f"{name}, line {number}: not JSON: {error}") from error
        if "\\u" in line and not _is_text(row):
            raise CorpusError(f"{name}, line {number}: half a character, a surrogate \\ud800 to \\udfff that stands alone")
        if not isinstance(row, dict):
            raise CorpusError(f"{name}, line {number}: a {type(row).__name__}, expected an object per line")
        yield number, {str(key): value if isinstance(value, str) else json.dumps(value) for key, value in row.items() if value is not None}


def _is_text(row: object) -> bool:
    """Say whether UTF-8 can hold every text in a row."""
    try:
        return bool(json.dumps(row, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        return False
