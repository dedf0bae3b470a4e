"""Make the data of docs/study.md from the spoken digits, play the person who judges an audit's list, and show what came of the sweeps.

    python docs/make_study.py FOLDER OUT                            tables of some speakers and of wrong labels, and a copy of the audio
    python docs/make_study.py judge OUT NAME KEY LISTENS            that person, for the recipe NAME: the first LISTENS of the audit KEY
    python docs/make_study.py show SVG FIELD LABEL=KEY[:TITLE] ...  settings of these sweeps: a picture, and a table

FOLDER holds the Free Spoken Digit Dataset with its manifest.csv; the last two look into the store of VISKA_STORE. Wrong labels are drawn by
a seed, so the same command gives the same data.
"""

import csv
import json
import os
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tasks.corrections.decisions import Decision, correction, save
from tasks.search.pictures import values_file
from tasks.search.ranking import Place, gain
from tasks.store.artifacts import fetch_file, load
from tasks.store.lines import from_lines
from tasks.store.objects import Store

Row = dict[str, str]  # of the manifest: path, text, speaker, split
TEACHERS, STRANGERS = ("george", "jackson", "lucas", "nicolas"), ("theo", "yweweler")
GROUPS = {"one-a": TEACHERS[:1], "one-b": TEACHERS[3:], "two-a": TEACHERS[:2], "two-b": TEACHERS[2:], "four": TEACHERS}
N_TAKES = 40  # of a digit by all people of a group: 400 clips, ten digits
SHARES = {"wrong-10": 0.1, "wrong-30": 0.3}  # of the training labels
SEED = 1


def make(folder: Path, out: Path) -> None:
    """Write the audio once, and a table for each corpus; a recipe names its table in `corpus.table`."""
    with (folder / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    shutil.copytree(folder / "audio", out / "audio", dirs_exist_ok=True)
    tables = {"all": rows, "few": few(rows)} | {name: speakers(rows, group) for name, group in GROUPS.items()}
    for name, table in (tables | {name: spoilt(rows, share) for name, share in SHARES.items()}).items():
        with (out / f"{name}.csv").open("w", newline="") as file:
            lines = csv.DictWriter(file, list(rows[0]))
            lines.writeheader()
            lines.writerows(table)
        print(f"{name}: {sum(row['split'] == 'train' for row in table)} clips to train on, of {len(table)}")


def speakers(rows: list[Row], group: tuple[str, ...]) -> list[Row]:
    """Return 400 training clips by the people of the group, and what the strangers say as dev (300 clips) and test (100)."""
    first = 10 + N_TAKES // len(group)  # takes below 10 are those of dev and test
    train = [row | {"split": "train"} for row in rows if row["speaker"] in group and 10 <= take(row) < first]
    return train + strangers(rows)


def few(rows: list[Row]) -> list[Row]:
    """Return 100 training clips by the strangers themselves, and the same dev and test."""
    train = [row | {"split": "train"} for row in rows if row["speaker"] in STRANGERS and 25 <= take(row) < 30]
    return train + strangers(rows)


def strangers(rows: list[Row]) -> list[Row]:
    """Return takes 10 to 24 of the two strangers as dev, and 0 to 4 as test."""
    theirs = [row for row in rows if row["speaker"] in STRANGERS]
    return [row | {"split": "dev"} for row in theirs if 10 <= take(row) < 25] + [row | {"split": "test"} for row in theirs if take(row) < 5]


def take(row: Row) -> int:
    """Return which recording of a word by a speaker it is: audio/DIGIT_SPEAKER_TAKE.wav."""
    return int(Path(row["path"]).stem.rsplit("_", 1)[1])


def spoilt(rows: list[Row], share: float) -> list[Row]:
    """Return all rows, a share of the training labels replaced by another digit's word; dev and test stay right."""
    dice, words = random.Random(SEED), sorted({row["text"] for row in rows})
    train = [row["path"] for row in rows if row["split"] == "train"]
    wrong = set(dice.sample(train, round(share * len(train))))
    return [row | {"text": dice.choice([word for word in words if word != row["text"]])} if row["path"] in wrong else row for row in rows]


def judge(out: Path, name: str, key: str, n_listens: int) -> None:
    """Decide on the first labels of an audit's list as somebody who hears every word rightly, and save that for the recipe of this name."""
    with (out / "all.csv").open(newline="") as file:
        truth = {row["path"]: row["text"] for row in csv.DictReader(file)}
    store = Store(os.environ["VISKA_STORE"])
    audit = load(store, "audit", key)
    listed = from_lines(fetch_file(store, audit.file("suspects.jsonl")).read_bytes())
    heard = listed[:n_listens]
    save(store, name, [_decided(row, truth[row["id"]]) for row in heard])
    index = load(store, "dataset", audit.facts["dataset"]).file("index.parquet")
    clips = pq.read_table(fetch_file(store, index), columns=["id", "text"]).to_pylist()
    n_wrong = sum(clip["text"] != truth[clip["id"]] for clip in clips)
    n_found, n_listed = (sum(row["label"] != truth[row["id"]] for row in rows) for rows in (heard, listed))
    print(f"{len(clips)} labels, {n_wrong} of them wrong; {len(listed)} are listed, {n_listed} of them wrong; "
          f"{len(heard)} judged, {n_found} corrected")  # fmt: skip


def _decided(row: dict[str, Any], text: str) -> Decision:
    if row["label"] != text:
        return correction(row["id"], row["recording"], row["label"], text)
    return Decision(id=row["id"], recording=row["recording"], was=row["label"], verdict="accept")


def show(picture: Path, field: str, wishes: list[str]) -> None:
    """Draw settings of one or several sweeps side by side, and print them as a table; gains are over the first one, seed by seed.

    Args:
        picture: SVG file to write.
        field: what the settings differ in, for people.
        wishes: LABEL=KEY for the recipe as it is of that sweep, LABEL=KEY:TITLE for the settings whose title has these words.
    """
    shown: list[dict[str, Any]] = []
    trials: list[dict[str, Any]] = []
    for wish in wishes:
        label, _, rest = wish.partition("=")
        place, some = _settings(*rest.partition(":")[::2])
        values = {field: int(label) if label.isdecimal() else label}
        number = 1000 * len(shown)  # trials of different sweeps have the same numbers
        shown.append(place | {"number": number, "values": values, "title": label})
        again = [each | {"number": number + each["number"], "repeats": number, "values": values} for each in some]
        trials += [again[0] | {"number": number, "repeats": None}, *again[1:]]
    best = min(shown, key=lambda each: each["dev_wer"])["number"]
    picture.write_text(values_file({"places": shown, "trials": trials, "best": best}, field))
    print(f"| {field} | dev WER with seeds 0, 1, 2 | mean | better than the first row by |\n| --- | --- | --- | --- |")
    for each in shown:
        print(f"| {each['title']} | {', '.join(f'{100 * wer:.1f}' for wer in each['seeds'])} | {100 * each['dev_wer']:.1f} % | "
              f"{_gain(each, shown[0]) if each is not shown[0] else ''} |")  # fmt: skip


def _settings(key: str, title: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a place of a sweep, and its trainings, the first one first."""
    store = Store(os.environ["VISKA_STORE"])
    result = json.loads(fetch_file(store, load(store, "search", key).file("search.json")).read_text())
    place = next(each for each in result["places"] if (title in each["title"] if title else not each["values"]))
    some = [each for each in result["trials"] if place["number"] in (each["number"], each["repeats"])]
    return place, sorted(some, key=lambda each: each["number"])


def _gain(mine: dict[str, Any], first: dict[str, Any]) -> str:
    """Return by how many points the mean is lower than that of the first, with its 95 % interval: a paired t over seeds."""
    found = gain(*(Place(**{name: each[name] for name in Place.__dataclass_fields__}) for each in (mine, first)))
    value, low, high = (f"{100 * found[name]:+.1f}" for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def main(arguments: list[str]) -> None:
    """Do what the command line says."""
    verb, *rest = arguments
    if verb == "judge":
        judge(Path(rest[0]), rest[1], rest[2], int(rest[3]))
    elif verb == "show":
        show(Path(rest[0]), rest[1], rest[2:])
    else:
        make(Path(verb), Path(rest[0]))


if __name__ == "__main__":
    main(sys.argv[1:])
