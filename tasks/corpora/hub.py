"""A data set of the Hugging Face Hub, or a local folder of one: Parquet, and whatever else `datasets` streams. None of its code is run.

`datasets` finds configurations, splits and types, retries interrupted reads, and gives one row group after the other. What it would do
besides is kept out: its cache, where an unreachable Hub turns into another revision; its decoder; and pandas, which reads CSV and drops
rows between stray quotes. Source: https://huggingface.co/docs/datasets/stream, https://huggingface.co/docs/dataset-viewer/parquet
"""

import logging
import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import datasets
from datasets.data_files import EmptyDatasetError
from datasets.exceptions import DataFilesNotFoundError, DatasetNotFoundError
from huggingface_hub import HfApi, errors
from pyarrow.dataset import ParquetFragmentScanOptions

from tasks.contracts.corpora import HubCorpus
from tasks.contracts.errors import CorpusError
from tasks.contracts.languages import code_of
from tasks.contracts.values import Reject, fingerprint
from tasks.corpora import ABOUT, Recording
from tasks.store.source import MISSING, Source

log = logging.getLogger(__name__)
GUESSES = {  # the names people give these columns, the likeliest first
    "audio": ("audio", "speech", "wav", "flac", "mp3", "opus", "file", "path", "audio_filepath"),
    "text": ("transcription", "text", "sentence", "transcript", "normalized_text", "raw_transcription", "txt"),
    "speaker": ("speaker_id", "speaker", "client_id"),
}
OTHERS = {"seconds": ("duration", "seconds"), "language": ("language", "lang", "locale")} | {about: (about,) for about in ABOUT[1:]}
FORMATS = ("parquet", "arrow", "json", "webdataset", "audiofolder")
CONVERTED = re.compile(r"([^/]+)/([^/]+)/\d{4}\.parquet")  # of the branch refs/convert/parquet: configuration, split
SOUND = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}  # of the type Audio, which asks for torchcodec
UNREACHED = (OSError, errors.HTTPError)  # type: ignore[attr-defined]  # of whichever HTTP library the client uses
COMMITS: dict[tuple[str, str], str] = {}  # as `revision` found them: what it names is read, though the branch may have moved since

datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False  # or it would tell another host which data set this is


def revision(spec: HubCorpus) -> Any:
    """Return the Hub's commit, or a fingerprint of a folder's names, sizes and dates.

    Raises:
        CorpusError: if there is neither such a folder nor such a revision, or the Hub cannot be asked.
    """
    if folder := _folder(spec):
        return {"folder": fingerprint([(name, folder.stamp(name)) for name in folder.walk()])}
    try:
        COMMITS[spec.name, spec.revision] = _commit(spec)
    except UNREACHED as error:
        why = f"the Hub cannot be reached: {error!s:.200}; a whole commit as corpus.revision needs no asking"
        raise CorpusError(f"{_called(spec)}: {why}") from error
    return {"commit": COMMITS[spec.name, spec.revision]}


def recordings(spec: HubCorpus) -> Iterator[Recording | Reject]:
    """Yield a row per row of the splits that are used, in their order; ids are those of the column or the files, after the split's name.

    Raises:
        CorpusError: if the data set cannot be read as described. An interrupted connection is an accident.
    """
    files = _folder(spec)
    commit = None if files else COMMITS.get((spec.name, spec.revision)) or _commit(spec)
    files = files or Source(f"hf://datasets/{spec.name}@{commit}")
    splits = _splits(spec, files, commit)
    wanted = [(ours, theirs) for ours in ("train", "dev", "test") for theirs in getattr(spec, ours)]
    for ours, theirs in wanted:
        if theirs not in splits:
            why = f"no split {theirs!r}, only {list(splits)}; correct corpus.{ours}, [] for none"
            raise CorpusError(f"{_called(spec)}: {why}")
    for ours, theirs in wanted:
        try:
            yield from _split(spec, files, splits[theirs], ours, theirs)
        except (ValueError, OSError) as error:
            if isinstance(error, OSError) and (type(error) is not OSError or error.errno):
                raise  # an accident; what follows are Arrow's words for a damaged file, or for columns that differ between files
            raise CorpusError(f"{_called(spec)}, split {theirs!r}: cannot be read: {error!s:.300}") from error


def _called(spec: HubCorpus) -> str:
    return f"data set {spec.name!r}" + (f" at {spec.revision!r}" if not _folder(spec) else "")


def _folder(spec: HubCorpus) -> Source | None:
    """Return the local folder, if it is one."""
    folder = Path(spec.name).expanduser()
    return Source(str(folder.resolve())) if folder.is_dir() else None


def _commit(spec: HubCorpus) -> str:
    """Return the commit that the revision stands for now."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", spec.name):
        raise CorpusError(f"{_called(spec)}: neither a folder here nor an id such as google/fleurs")
    if re.fullmatch(r"[0-9a-f]{40}", spec.revision):
        return spec.revision
    try:
        return str(HfApi().dataset_info(spec.name, revision=spec.revision, timeout=60).sha)
    except errors.GatedRepoError as error:
        raise _gated(spec) from error
    except errors.RevisionNotFoundError as error:
        raise CorpusError(f"{_called(spec)}: no such branch, tag or commit; correct corpus.revision") from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        why = "neither a folder here nor on the Hub; if it is private, set HF_TOKEN to a token that may read it"
        raise CorpusError(f"{_called(spec)}: {why}") from error


def _gated(spec: HubCorpus) -> CorpusError:
    return CorpusError(f"{_called(spec)}: gated; accept its terms on its page on the Hub, and set HF_TOKEN to a token of that account")


def _splits(spec: HubCorpus, files: Source, commit: str | None) -> dict[str, Any]:
    """Return the rows of each split, of which none is read yet."""
    config, data_files = spec.config or None, _converted(spec, files)
    try:
        with TemporaryDirectory() as empty:  # instead of its cache
            builder = datasets.load_dataset_builder(
                spec.name if commit else files.url, None if data_files else config, revision=commit, data_files=data_files, cache_dir=empty
            )
            _check_format(spec, files, builder)
            if hasattr(builder.config, "fragment_scan_options"):  # Parquet: or each file is in memory as a whole when its end is read
                builder.config.fragment_scan_options = ParquetFragmentScanOptions(pre_buffer=False)
            if hasattr(builder.config, "decode_num_threads"):
                builder.config.decode_num_threads = 0  # nothing is decoded here
            return dict(builder.as_streaming_dataset())
    except DatasetNotFoundError as error:
        if "gated" in str(error):
            raise _gated(spec) from error
        raise CorpusError(f"{_called(spec)}: {error} If it is private, set HF_TOKEN to a token that may read it") from error
    except (EmptyDatasetError, DataFilesNotFoundError) as error:
        raise CorpusError(f"{_called(spec)}: no data files; {_elsewhere(commit)}") from error
    except RuntimeError as error:
        if "script" not in str(error):
            raise
        raise CorpusError(f"{_called(spec)}: a Python script, and viska runs no code of strangers; {_elsewhere(commit)}") from error
    except ValueError as error:  # also of configurations, with those that there are
        why = " ".join(str(error).partition("Example of usage")[0].split())
        raise CorpusError(f"{_called(spec)}: {why}" + ("; correct corpus.config" if "onfig" in why else "")) from error


def _check_format(spec: HubCorpus, files: Source, builder: Any) -> None:
    """Refuse files that `datasets` cannot stream as recordings, or reads loosely."""
    names = [str(name).lower() for split in builder.config.data_files.values() for name in split]
    if any(re.search(r"\.[ct]sv(\.\w+)?$", name) for name in names):
        why = "its table is CSV or TSV, where datasets loses rows between stray quotes"
        raise CorpusError(f"{_called(spec)}: {why}; read it with corpus.kind folder and corpus.path {files.url}")
    if builder.info.builder_name not in FORMATS:
        raise CorpusError(f"{_called(spec)}: its files are {builder.info.builder_name}, expected {', '.join(FORMATS)}")


def _elsewhere(commit: str | None) -> str:
    return "try refs/convert/parquet as corpus.revision, where the Hub keeps data sets as Parquet" if commit else "expected Parquet"


def _converted(spec: HubCorpus, files: Source) -> dict[str, str] | None:
    """Return the files of each split where their paths alone name the configurations: `datasets` would read all of these as one."""
    names = files.walk()
    found = [match.groups() for name in names if (match := CONVERTED.fullmatch(name))]
    if "README.md" in names or len(found) < sum(name.endswith(".parquet") for name in names):
        return None
    configs = sorted({config for config, _ in found})
    config = spec.config or (configs[0] if len(configs) == 1 else "")
    if found and config not in configs:
        raise CorpusError(f"{_called(spec)}: corpus.config is {spec.config!r}, expected one of {configs}")
    return {split: f"{config}/{split}/*.parquet" for theirs, split in found if theirs == config} or None


def _split(spec: HubCorpus, files: Source, rows: Any, ours: str, theirs: str) -> Iterator[Recording | Reject]:
    """Yield the rows of one split."""
    features = rows.features or dict.fromkeys(next(iter(rows), {}))  # JSON tells its columns only in the rows
    columns = _columns(spec, features)
    audio = columns.pop("audio")
    if rows.info.builder_name == "parquet":
        with suppress(ValueError, OSError):  # a damaged file is told of when its turn comes
            rows = rows.reshard()  # by row group, or Arrow reads on, up to a gigabyte, while a clip is looked at
    if rows.features:
        rows = rows.select_columns([*{audio, *columns.values()}])
    if isinstance(features[audio], datasets.Audio):
        rows = rows.cast_column(audio, datasets.Value("string") if rows.info.builder_name == "audiofolder" else dict(SOUND))
    for number, row in enumerate(rows):
        where = f"split {theirs!r}, row {number}"
        cells = {what: _words(row.get(column), features[column]) for what, column in columns.items()}
        if cells.get("id") == "":
            yield Reject(where, "download", "no id", f"{where}: column {spec.id_column!r} is empty")
            continue
        path, sound = _sound(row.get(audio), audio)
        inside = _inside(path, files.url)
        name = cells.get("id") or inside or path.rpartition("/")[2] or _name(spec, theirs, number)
        id = unicodedata.normalize("NFC", f"{theirs}/{name}")
        stamp = files.stamp(inside) if inside and not sound else ""
        if not sound and not path:
            yield Reject(id, "download", "missing file", f"{where}: column {audio!r} holds neither sound nor a path")
        elif not sound and not inside:
            yield Reject(id, "download", "path outside", f"{where}: {path!r} is not inside the data set")
        elif stamp == MISSING:
            yield Reject(id, "download", "missing file", f"{where}: no file {inside!r} in the data set")
        else:
            yield Recording(
                id,
                partial(bytes, sound) if sound else partial(files.read, inside),
                cells["text"],
                cells["speaker"] if cells.get("speaker", "unknown").lower() != "unknown" else "",
                ours,
                "" if stamp.endswith(":") else stamp,  # a size alone says nothing
                _seconds(cells.get("seconds", "")),
                _language(cells.get("language", "")),
                about={what: cells[what] for what in ABOUT if cells.get(what)},
            )


@cache
def _warn(name: str, split: str) -> None:
    log.warning("data set %r, split %r: ids are row numbers, true at this revision only; name a column in corpus.id_column", name, split)


def _name(spec: HubCorpus, split: str, number: int) -> str:
    """Return what a recording is called that nobody has named."""
    _warn(spec.name, split)
    return f"{number:08d}"


def _columns(spec: HubCorpus, features: dict[str, Any]) -> dict[str, str]:
    """Return which column holds what, of what there is."""
    columns = {what: name for what, names in OTHERS.items() if (name := next((name for name in names if name in features), ""))}
    typed = [name for name, feature in features.items() if isinstance(feature, datasets.Audio)]
    guesses = GUESSES | {"id": (), "audio": (*typed, *GUESSES["audio"]) if len(typed) < 2 else ()}
    for what, names in guesses.items():
        named: str = getattr(spec, f"{what}_column")
        if what == "speaker" and named == "-":
            continue
        if named and named not in features:
            raise CorpusError(f"{_called(spec)}: no column {named!r}, only {list(features)}; correct corpus.{what}_column")
        if name := named or next((name for name in names if name in features), ""):
            columns[what] = name
        elif what in ("audio", "text"):
            raise CorpusError(f"{_called(spec)}: cannot guess which of {list(features)} holds the {what}; name it in corpus.{what}_column")
    return columns


def _words(cell: Any, feature: Any) -> str:
    """Return a cell as words: a class by its name, nothing as nothing."""
    if isinstance(feature, datasets.ClassLabel):
        return str(feature.int2str(cell)) if cell is not None and 0 <= cell < feature.num_classes else ""
    return "" if cell is None else str(cell)


def _sound(cell: Any, column: str) -> tuple[str, bytes]:
    """Return the path and the bytes that stand for a recording, each empty if it is not there."""
    if isinstance(cell, dict) and {"bytes", "path"} & set(cell):
        return cell.get("path") or "", cell.get("bytes") or b""
    if isinstance(cell, str | bytes | None):
        return (cell, b"") if isinstance(cell, str) else ("", cell or b"")
    raise CorpusError(f"column {column!r} holds a {type(cell).__name__}, expected bytes and path; correct corpus.audio_column")


def _inside(path: str, root: str) -> str:
    """Return a path from the data set's root on; nothing if it leads out of it."""
    path = path.removeprefix(f"{root}/")
    is_outside = path.startswith(("/", "~")) or "\0" in path or ":/" in path or "::" in path or "\\" in path or ".." in path.split("/")
    return "" if is_outside else path


def _seconds(written: str) -> float:
    try:
        seconds = float(written)
    except ValueError:
        return 0.0
    return seconds if 0 < seconds < 86_400 else 0.0


def _language(written: str) -> str:
    try:
        return code_of(written) if written else ""
    except ValueError:
        return ""  # FLEURS has numbers
