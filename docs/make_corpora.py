"""Make a small corpus of every kind out of the demonstration's synthetic speech, for the commands of docs/corpora.md.

python docs/make_corpora.py FOLDER
"""

import csv
import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from tasks.contracts.corpora import EspeakCorpus
from tasks.corpora import Recording
from tasks.corpora.espeak import recordings

SPLITS = {"train": "train", "dev": "validation", "test": "test"}
PAUSE = 0.5  # seconds between two clips of a long recording
CLIP = "client_id path sentence_id sentence sentence_domain up_votes down_votes age gender accents variant locale segment".split()
MIX = """\
name: mix
corpus:
  kind: mix
  parts:
    - {{name: release, corpus: {{kind: common_voice, path: {home}/cv-corpus-25.0-2026-03-09-sv-SE.tar.gz}}}}
    - {{name: radio, corpus: {{kind: subtitles, path: {home}/subtitles}}, weight: 2, use: train}}
"""


def main(home: Path) -> None:
    """Write all of them into `home`."""
    clips = [row for row in recordings(EspeakCorpus(n_train=24, n_dev=6, n_test=8))]
    folder(home / "folder", clips)
    audio_folder(home / "audiofolder", clips)
    common_voice(home / "cv-corpus-25.0-2026-03-09-sv-SE.tar.gz", clips)
    parquet(home / "parquet" / "data", clips)
    for split in SPLITS:
        some = [clip for clip in clips if clip.split == split]
        sound, spans = one_after_the_other(some)
        nemo(home / "nemo", split, some, sound, spans)
        kaldi(home / "kaldi" / split, some, sound, spans)
        subtitles(home / "subtitles", split, some, sound, spans)
    (home / "mix.yaml").write_text(MIX.format(home=home))


def folder(home: Path, clips: list[Recording]) -> None:
    """A table beside the audio."""
    rows = [("path", "text", "speaker", "split")]
    for clip in clips:
        rows.append((f"{clip.id.replace('/', '-')}.wav", clip.text, clip.speaker, clip.split))
        write(home / rows[-1][0], clip.read())
    write(home / "manifest.tsv", "\n".join(map("\t".join, rows)).encode())


def audio_folder(home: Path, clips: list[Recording]) -> None:
    """A folder for each split, with metadata.csv, as the Hub has them."""
    for split, name in SPLITS.items():
        table = io.StringIO()
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(["file_name", "transcription"])
        for clip in clips:
            if clip.split == split:
                rows.writerow([f"{clip.id[-5:]}.wav", clip.text])
                write(home / name / f"{clip.id[-5:]}.wav", clip.read())
        write(home / name / "metadata.csv", table.getvalue().encode())


def common_voice(path: Path, clips: list[Recording]) -> None:
    """An archive in the layout of release 25.0: MP3s first, tables behind them, two validated clips in no split."""
    tables: dict[str, list[dict[str, str]]] = {name: [] for name in ("train", "dev", "test", "validated", "invalidated", "other")}
    durations = []
    with tarfile.open(path, "w:gz") as archive:

        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(f"cv-corpus-25.0-2026-03-09/sv-SE/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))

        for number, clip in enumerate(clips):
            name, samples, rate = f"common_voice_sv-SE_{number:08d}.mp3", *soundfile.read(io.BytesIO(clip.read()))
            mp3 = io.BytesIO()
            soundfile.write(mp3, samples, rate, format="MP3")
            add(f"clips/{name}", mp3.getvalue())
            told = {"client_id": clip.speaker, "path": name, "sentence": clip.text, "up_votes": "2", "down_votes": "0", "locale": "sv-SE"}
            tables["validated"].append(told)
            tables[clip.split] += [told] if number > 1 else []
            durations.append(f"{name}\t{round(1000 * len(samples) / rate)}")
        for table, rows in tables.items():
            add(f"{table}.tsv", "\n".join(["\t".join(CLIP), *("\t".join(row.get(name, "") for name in CLIP) for row in rows), ""]).encode())
        add("reported.tsv", b"sentence_id\tsentence\tlocale\treason\n")
        add("clip_durations.tsv", "\n".join(["clip\tduration[ms]", *durations, ""]).encode())


def parquet(home: Path, clips: list[Recording]) -> None:
    """Parquet files as the Hub converts data sets to."""
    home.mkdir(parents=True, exist_ok=True)
    for split, name in SPLITS.items():
        rows = [{"audio": {"bytes": clip.read(), "path": f"{clip.id[-5:]}.wav"}, "text": clip.text, "speaker_id": clip.speaker}
                for clip in clips if clip.split == split]  # fmt: skip
        pq.write_table(pa.Table.from_pylist(rows), home / f"{name}-00000-of-00001.parquet")


def one_after_the_other(clips: list[Recording]) -> tuple[bytes, list[tuple[float, float]]]:
    """Return one long WAV of all clips, and where each lies in it, in seconds."""
    pieces, spans, place = [], [], 0.0
    for clip in clips:
        samples, rate = soundfile.read(io.BytesIO(clip.read()), dtype="int16")
        spans.append((place, place + len(samples) / rate))
        pieces += [samples, np.zeros(int(PAUSE * rate), np.int16)]
        place = sum(map(len, pieces)) / rate
    wav = io.BytesIO()
    soundfile.write(wav, np.concatenate(pieces), rate, format="WAV")
    return wav.getvalue(), spans


def nemo(home: Path, split: str, clips: list[Recording], sound: bytes, spans: list[tuple[float, float]]) -> None:
    """A manifest whose lines are cut out of one recording."""
    rows: list[dict[str, Any]] = [
        {"audio_filepath": f"{split}.wav", "offset": start, "duration": end - start, "text": clip.text, "speaker": clip.speaker}
        for clip, (start, end) in zip(clips, spans, strict=True)
    ]
    write(home / f"{split}.wav", sound)
    write(home / f"{split}.jsonl", "\n".join(map(json.dumps, rows)).encode())


def kaldi(home: Path, clips: list[Recording], sound: bytes, spans: list[tuple[float, float]]) -> None:
    """A data directory with segments."""
    split = home.name
    rows = [(f"{split}-{number:03d}", clip, span) for number, (clip, span) in enumerate(zip(clips, spans, strict=True))]
    write(home / "talk.wav", sound)
    write(home / "wav.scp", f"{split}-talk talk.wav\n".encode())
    write(home / "text", "".join(f"{id} {clip.text}\n" for id, clip, _ in rows).encode())
    write(home / "utt2spk", "".join(f"{id} {clip.speaker}\n" for id, clip, _ in rows).encode())
    write(home / "segments", "".join(f"{id} {split}-talk {start:.3f} {end:.3f}\n" for id, _, (start, end) in rows).encode())


def subtitles(home: Path, split: str, clips: list[Recording], sound: bytes, spans: list[tuple[float, float]]) -> None:
    """A recording with an SRT beside it."""

    def clock(seconds: float) -> str:
        whole, thousandths = divmod(round(seconds * 1000), 1000)
        return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d},{thousandths:03d}"

    cues = [f"{number}\n{clock(start)} --> {clock(end)}\n{clip.text}\n"
            for number, (clip, (start, end)) in enumerate(zip(clips, spans, strict=True), start=1)]  # fmt: skip
    write(home / f"{split}.wav", sound)
    write(home / f"{split}.srt", "\n".join(cues).encode())


def write(path: Path, data: bytes) -> None:
    """Write a file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    main(Path(sys.argv[1]))
