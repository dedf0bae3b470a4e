"""Tables are read strictly: no row is lost, no word invented, and what does not fit is refused with its line."""

import json
import re

import pytest

from tasks.contracts.errors import CorpusError
from tasks.corpora.table import Row, read_table


def read(text: str | bytes, name: str = "clips.tsv") -> list[Row]:
    return list(read_table(text if isinstance(text, bytes) else text.encode(), name))


def texts(text: str | bytes, name: str = "clips.tsv") -> list[str]:
    return [row["text"] for _, row in read(text, name) if isinstance(row, dict)]


def in_each_format(words: list[str]) -> list[tuple[str, bytes]]:
    """Return the same rows as TSV, CSV and JSON Lines."""
    quoted = ['"' + word.replace('"', '""') + '"' for word in words]
    objects = [json.dumps({"audio": f"{n}.wav", "text": word}) for n, word in enumerate(words)]
    return [("clips.tsv", "\n".join(["audio\ttext", *(f"{n}.wav\t{word}" for n, word in enumerate(words))]).encode()),
            ("clips.csv", "\n".join(["audio,text", *(f"{n}.wav,{word}" for n, word in enumerate(quoted))]).encode()),
            ("clips.jsonl", "\n".join(objects).encode())]  # fmt: skip


def test_two_stray_quotes_lose_no_row() -> None:
    words = ["ett", '"två', "tre", "fyra", 'fem"', "sex"]  # csv, pandas, datasets, polars and pyarrow lose the rows between the quotes
    assert texts("\n".join(["audio\ttext", *(f"{n}.wav\t{word}" for n, word in enumerate(words))])) == words


@pytest.mark.parametrize("words", [
    ["NA", "null", "None", "nan", "N/A", "true", "False", "007", "1e5", "1_000", "-", "#row", "=1+1", ""],
    ["å", "a\u030a", "\u200fشلوم\u200f", "\u200dx\u200d", "\u2028a\u0085b", "a\x0bb\x0cc", "\ufeffx", "🙂"],  # not normalised here
    ['""', "'", "\\", "\\n", "  outer spaces  ", "a,b;c|d", "x" * 100_000],
])  # fmt: skip
def test_words_stay_as_they_are(words: list[str]) -> None:
    for name, data in in_each_format(words):
        assert texts(data, name) == words, name
        assert texts(b"\xef\xbb\xbf" + data, name) == words, f"{name} with a byte order mark"
        assert texts(data.replace(b"\n", b"\r\n"), name) == words, f"{name} with CRLF"
        assert texts(data + b"\n", name) == words, f"{name} with a last line feed"


def test_rows_come_with_their_line() -> None:
    assert read("audio\ttext\n\na.wav\thej\n\n\nb.wav\tdå\n") == [
        (3, {"audio": "a.wav", "text": "hej"}),
        (6, {"audio": "b.wav", "text": "då"}),
    ]
    assert [line for line, _ in read('audio,text\na.wav,"ett"\n\nb.wav,två\n', "clips.csv")] == [2, 4]
    assert [line for line, _ in read('{"text": "a"}\n\n{"text": "b"}\n', "clips.jsonl")] == [1, 3]


def test_json_values_become_text_and_every_row_has_every_column() -> None:
    table = '{"audio": "a.wav", "text": null}\n{"audio": "b.wav", "text": "hej", "speaker": 7, "ok": true}'
    first = {"audio": "a.wav", "text": "", "speaker": "", "ok": ""}
    assert [row for _, row in read(table, "clips.jsonl")] == [first, {"audio": "b.wav", "text": "hej", "speaker": "7", "ok": "true"}]


@pytest.mark.parametrize(("name", "table", "line", "message"), [
    ("clips.tsv", "audio\ttext\na.wav\thej\nb.wav\n", 3, "1 cells, expected 2 as in the header"),
    ("clips.tsv", "audio\ttext\na.wav\thej\td\u00e5\n", 2, "3 cells, expected 2"),
    ("clips.csv", "audio,text\na.wav,hej\nb.wav\n", 3, "1 cells, expected 2"),
    ("clips.csv", 'audio,text\na.wav,hej\nb.wav,"two\nc.wav,three\nd.wav,four\n', 3, ".*a quote inside a quoted cell"),
    ("clips.csv", 'audio,text\na.wav,hej\nb.wav,"two" more\n', 3, ".*a quote inside a quoted cell"),
    ("clips.csv", 'audio,text\na.wav,5" pipe\n', 2, "a quote out of place after column 1"),
    ("clips.jsonl", '{"audio": "a.wav"}\n{"audio": \n', 2, "not JSON"),
    ("clips.jsonl", '{"audio": "a.wav"}\n["b.wav"]\n', 2, "a list, expected an object"),
    ("clips.jsonl", '{"audio": "a.wav"}\n{"text": "\\ud800"}\n', 2, "half a character"),
])  # fmt: skip
def test_a_row_that_does_not_fit_is_named_and_costs_no_other(name: str, table: str, line: int, message: str) -> None:
    rows = read(table, name)
    assert len(rows) == len(table.strip().split("\n")) - (not name.endswith("jsonl"))
    (bad,) = [(number, row) for number, row in rows if isinstance(row, str)]
    assert bad[0] == line and re.match(message, bad[1])


def test_a_quote_that_closes_in_another_row_spoils_both_and_none_between() -> None:
    rows = read('audio,text\na.wav,"one\nb.wav,two\nc.wav,three"\nd.wav,four\n', "clips.csv")
    assert [isinstance(row, dict) for _, row in rows] == [False, True, False, True]


@pytest.mark.parametrize(("name", "table", "message"), [
    ("clips.tsv", "audio\ttext\ttext\na.wav\tx\ty\n", r"clips.tsv, line 1: column 'text' stands twice in the header .*'text', 'text'"),
    ("clips.csv", "audio,text, text\na.wav,x,y\n", "clips.csv, line 1: column 'text' stands twice"),
    ("clips.tsv", "audio\ttext\r" + "a.wav\thej\r" * 9999, "clips.tsv, line 1: column .{1,400}; the first line .* end with a line feed$"),
    ("clips.csv", 'audio,"text\na.wav,x\n', "clips.csv, line 1: "),
    ("clips.tsv", "", "clips.tsv: empty"), ("clips.csv", "\n\n", "clips.csv: empty"), ("clips.jsonl", "", "clips.jsonl: empty"),
    ("clips.tsv", "audio\ttext\n", "clips.tsv: empty"), ("clips.csv", "audio,text\n", "clips.csv: empty"),
])  # fmt: skip
def test_a_table_that_cannot_be_read_is_refused(name: str, table: str, message: str) -> None:
    with pytest.raises(CorpusError, match=f"^{message}"):
        read(table, name)


def test_a_header_without_rows_may_be_a_table() -> None:
    assert list(read_table(b"audio\ttext\n", "other.tsv", may_be_empty=True)) == []
    with pytest.raises(CorpusError, match="empty"):
        list(read_table(b"\n", "other.tsv", may_be_empty=True))


@pytest.mark.parametrize(("data", "message"), [
    ("audio\ttext\na.wav\tblåbär\n".encode("latin-1"), r"not UTF-8 at byte \d+"), ("audio\ttext\n".encode("utf-16"), "UTF-16"),
])  # fmt: skip
def test_a_table_that_is_not_utf_8_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(CorpusError, match=rf"^clips\.tsv: {message}; save the table as UTF-8"):
        read(data)
