"""Which clips are used, and in which split: words that can be learnt, splits that share nothing, a test set that never moves.

Tables in, row numbers out. Nothing is read or heard here, so `viska plan` can say beforehand what the step `index` will do.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.contracts.corpora import MixCorpus
from tasks.contracts.errors import CorpusError
from tasks.contracts.recipe import Gates, Leaks, Recipe, Splits, Text
from tasks.contracts.values import Reject
from tasks.corpora.letters import foreign_letters
from tasks.corrections.apply import DROPPED, Applied
from tasks.corrections.decisions import Decision
from tasks.scoring.normalise import plain, without_punctuation
from tasks.shards.plan import SPLITS, choose_split, draw, sample

TRAIN, DEV, TEST = range(len(SPLITS))
UNFROZEN, OTHER_LANGUAGE, LEAKED, UNASKED = -1, -2, -3, -4  # of no split: not in the frozen test, not to be scored, shared, not asked for
CONTROL = re.compile(r"<\|.*?\|>")  # would become a token that ends the label, or changes its language
UNSEEN = re.compile(r"[\0-\x08\x0e-\x1b\x7f]")  # control characters that are no space
QUOTED = re.compile(r"[\"“”„»«](?P<inside>[^\"“”„»«]*)[\"“”„»«]")
READ = ("id", "text", "speaker", "split", "recording", "language", "corpus", "place")  # columns that decide
ROWS = 2**14  # of a table as Python values at once; the rest is Arrow, a tenth as large


@dataclass(frozen=True)
class Rules:
    """What of a recipe decides which clips are used."""

    language: str
    text: Text = field(default_factory=Text)
    splits: Splits = field(default_factory=Splits)
    leaks: Leaks = field(default_factory=Leaks)
    gates: Gates = field(default_factory=Gates)
    caps: dict[str, int] = field(default_factory=dict)  # most training clips of a part of a mix, by its name
    train_only: tuple[str, ...] = ()  # parts of a mix of which nothing is held back
    only_test: bool = False  # nothing is trained on: the test split, or all there is if the source has none


def rules_of(recipe: Recipe) -> Rules:
    """Return the rules of a recipe."""
    parts = recipe.corpus.parts if isinstance(recipe.corpus, MixCorpus) else ()
    caps = {part.name: part.max_train for part in parts if part.max_train}
    train_only = tuple(part.name for part in parts if part.use == "train")
    return Rules(recipe.language, recipe.text, recipe.splits, recipe.leaks, recipe.gates, caps, train_only)


@dataclass(frozen=True)
class Choice:
    """What came of the rules."""

    clips: pa.Table  # rows with usable words and an id of their own
    rows: dict[str, np.ndarray]  # of each split, rows of `clips` in the order in which they are stored
    rejects: list[Reject]
    leaks: list[dict[str, Any]]  # what splits share: {"what", "split", "with", "clips", "corpora", "removed"}
    n_left: int  # clips that could have been used, and were not drawn
    applied: Applied  # decisions of an audit, and what came of them

    @property
    def counts(self) -> dict[str, int]:
        """Clips of each split."""
        return {split: len(rows) for split, rows in self.rows.items()}


def choose(
    clips: Iterable[pa.RecordBatch],
    rules: Rules,
    frozen: Mapping[str, str] | None = None,
    refused: Collection[Reject] = (),
    decisions: Mapping[str, Decision] | None = None,
) -> Choice:
    """Return which rows are used, and in which split.

    Args:
        clips: rows with the columns READ, and what else is to be kept.
        rules: the recipe's.
        frozen: id and recording of each clip of the frozen test; None: the test is drawn here.
        refused: what the source refused, to say why a frozen clip is missing.
        decisions: of people who listened, by id. A clip that one of them dropped may be missing in the frozen test.

    Raises:
        CorpusError: if a frozen clip is missing or changed.
    """
    rejects: list[Reject] = []
    applied = Applied(decisions or {})
    accepted = _accept(clips, rules, rejects, applied)
    wanted = None if frozen is None else _without_dropped(frozen, accepted, applied)
    guarded = None if wanted is None else _find_frozen(accepted, wanted, rules.splits.may_miss, [*refused, *rejects])
    split_of = _assign(accepted, rules, guarded)
    for number, reason, why in (
        (UNFROZEN, "not in the frozen test", "in test by its source, and not in the frozen one: not trained on; see splits.frozen"),
        (OTHER_LANGUAGE, "another language", f"only {rules.language} is scored, and the source has it in dev or test"),
    ):
        rejects += [Reject(id, "index", reason, why) for id in accepted["id"].filter(pa.array(split_of == number)).to_pylist()]
    leaks = _remove_leaks(accepted, split_of, rules.leaks, rejects)
    n_left, rows = 0, {}
    for number, split in enumerate(SPLITS):
        candidates = np.flatnonzero(split_of == number)
        if split == "train" and rules.gates.max_same_text:
            candidates = _without_repeats(accepted, candidates, rules.gates.max_same_text, rejects)
        drawn = candidates if split == "test" and frozen is not None else _draw(accepted, candidates, split, rules)
        rows[split] = drawn[np.argsort(np.asarray(accepted["stored"].take(drawn)))]
        n_left += len(candidates) - len(drawn)
    return Choice(accepted, rows, rejects, leaks, n_left, applied)


def learnable(text: str, wishes: Text) -> str:
    """Return the words as they are learnt: NFC, single spaces, and what the recipe wishes."""
    text = " ".join(unicodedata.normalize("NFC", text).split())
    if wishes.quotes == "unwrap" and (quoted := QUOTED.fullmatch(text)):
        text = quoted["inside"].strip()
    if wishes.punctuation == "remove":
        text = without_punctuation(text)
    return unicodedata.normalize("NFC", text.lower()) if wishes.case == "lower" else text


def _accept(clips: Iterable[pa.RecordBatch], rules: Rules, rejects: list[Reject], applied: Applied) -> pa.Table:
    """Return the rows with usable words and an id of their own, as people corrected them; add the others to `rejects`."""

    def refusal(id: str, written: str | None, text: str, language: str) -> tuple[str, str] | None:
        if written is None:
            return DROPPED, applied.why(id)
        if CONTROL.search(written):
            return "control text", f"{written!r:.80} holds one of Whisper's special tokens"
        if UNSEEN.search(written):
            return "control text", f"{written!r:.80} holds a control character"
        if not any(map(str.isalnum, text)):  # a zero-width space, dots: no word to learn or to score
            return "empty text", "no words beside the recording"
        if foreign := foreign_letters(text, language, rules.gates.alphabet):
            return "foreign letters", f"{text!r:.80}: {foreign} not of the language's alphabet; see gates.alphabet"
        return None

    def as_learnt(text: str) -> str:
        return learnable(text, rules.text)

    accepted = []
    for batch in clips:
        ids, recordings, labels = (batch[name].to_pylist() for name in ("id", "recording", "text"))
        written = [applied.label(*told, as_learnt) for told in zip(ids, recordings, labels, strict=True)] if applied.table else labels
        texts = [as_learnt(text or "") for text in written]
        languages = [language or rules.language for language in batch["language"].to_pylist()]
        refusals = list(map(refusal, ids, written, texts, languages))
        rejects += [Reject(id, "index", *why) for id, why in zip(ids, refusals, strict=True) if why]
        for name, values in (("text", texts), ("language", languages)):
            batch = batch.set_column(batch.schema.get_field_index(name), name, pa.array(values, pa.string()))
        accepted.append(batch.filter(pa.array([why is None for why in refusals])))
    table = pa.Table.from_batches(accepted).unify_dictionaries() if accepted else pa.schema(dict.fromkeys(READ, pa.string())).empty_table()
    table = _in_table_order(table)
    _, first = np.unique(_codes(table["id"]), return_index=True)
    again = np.setdiff1d(np.arange(len(table)), first)
    why = "an earlier row has the same recording; the first one is kept"
    rejects += [Reject(id, "index", "double id", why) for id in table["id"].take(again).to_pylist()]
    return table.take(np.sort(first)) if len(again) else table


def _in_table_order(clips: pa.Table) -> pa.Table:
    """Return the rows of each corpus as its tables have them, with a column `stored` for the order in which they came.

    Of equal rows the first is kept, whatever order an archive brings them in; those that are kept stay in the order in which their
    recordings are stored, so that a part reads few packs.
    """
    clips = clips.append_column("stored", pa.array(np.arange(len(clips))))
    order = np.lexsort((np.asarray(clips["place"]), _codes(clips["corpus"]))) if len(clips) else np.arange(0)
    return clips if (np.diff(order) == 1).all() else clips.take(order)


def _without_dropped(frozen: Mapping[str, str], clips: pa.Table, applied: Applied) -> dict[str, str]:
    """Return the frozen clips without those that people dropped, also where the source has renamed them."""
    dropped = applied.gone()
    if not dropped:
        return dict(frozen)
    ids, there = {each.id for each in dropped}, set(clips["recording"].to_pylist())
    sounds = {each.recording for each in dropped} - there  # another clip may have the same sound, and stays
    return {id: recording for id, recording in frozen.items() if id not in ids and recording not in sounds}


def _find_frozen(clips: pa.Table, frozen: Mapping[str, str], may_miss: float, rejects: Collection[Reject]) -> set[str]:
    """Return the ids of the frozen test's clips, also of those that have other ids now; CorpusError if one is missing or changed."""
    has = clips.filter(pc.is_in(clips["id"], value_set=pa.array(list(frozen), pa.string())))
    recording_of = dict(zip(has["id"].to_pylist(), has["recording"].to_pylist(), strict=True))
    missing = [id for id in frozen if id not in recording_of]
    changed = [id for id, recording in recording_of.items() if recording and recording != frozen[id]]
    if missing:  # a source may have renamed them
        wanted = {frozen[id]: id for id in missing}
        renamed = clips.filter(pc.is_in(clips["recording"], value_set=pa.array(list(wanted), pa.string())))
        found = {wanted[recording] for recording in renamed["recording"].to_pylist()}
        recording_of |= dict(zip(renamed["id"].to_pylist(), renamed["recording"].to_pylist(), strict=True))
        missing = [id for id in missing if id not in found]
    if len(missing) + len(changed) > may_miss * len(frozen):
        refused = {reject.id: reject.reason for reject in rejects}
        examples = [f"{id!r} ({refused.get(id, 'missing')})" for id in missing[:3]] + [f"{id!r} (other sound)" for id in changed[:3]]
        raise CorpusError(
            f"of the {len(frozen)} clips of the frozen test {len(missing)} are missing in the corpus and {len(changed)} are changed, "
            f"for example {', '.join(examples)}. Bring them back; or score on another test from now on, under another name "
            "(splits.frozen, or the recipe's own), whose scores are not to be compared with earlier ones; or allow it (splits.may_miss)"
        )
    return set(recording_of) - set(changed)


def _assign(clips: pa.Table, rules: Rules, frozen: set[str] | None) -> np.ndarray:
    """Return for each row the number of its split.

    A corpus, or a part of a mix, that comes with a test split but no dev split gets its dev clips out of train, and the other way round.
    """
    splits = rules.splits
    given: dict[str, set[str]] = {}
    for each in clips.group_by(["corpus", "split"]).aggregate([]).to_pylist():
        given.setdefault(each["corpus"], set()).add(each["split"])
    choose: Callable[..., str] = cache(choose_split) if splits.by == "speaker" else choose_split  # few speakers say many clips

    def decide(id: str, speaker: str, split: str, corpus: str, language: str) -> int:
        if frozen is not None and id in frozen:
            return TEST
        if rules.only_test:
            is_test = frozen is None and language == rules.language and split == ("test" if "test" in given[corpus] else split)
            return TEST if is_test else UNASKED
        is_scored = language == rules.language and corpus not in rules.train_only
        share = [getattr(splits, name) if is_scored and name not in given[corpus] else 0.0 for name in ("dev", "test")]
        fixed = split if split != "train" or not any(share) else ""
        who = "" if speaker and splits.by == "speaker" else id
        number = SPLITS.index(choose(who, speaker, fixed, *share, splits.by, splits.seed))
        if language != rules.language and number != TRAIN:
            return OTHER_LANGUAGE
        if frozen is not None and number == TEST:
            return UNFROZEN if fixed else TRAIN
        return number

    columns = ("id", "speaker", "split", "corpus", "language")
    numbers = [np.fromiter(map(decide, *(batch[name].to_pylist() for name in columns)), np.int8, len(batch))
               for batch in clips.to_batches(max_chunksize=ROWS)]  # fmt: skip
    split_of = np.concatenate([np.empty(0, np.int8), *numbers])
    if frozen is None:
        _fill(clips, split_of, TEST, given, rules)
    _fill(clips, split_of, DEV, given, rules)
    return split_of


def _fill(clips: pa.Table, split_of: np.ndarray, number: int, given: dict[str, set[str]], rules: Rules) -> None:
    """Give a split for which the dice drew nobody the speaker they came nearest to, if another one stays: of ten they often draw none."""
    name = SPLITS[number]
    if not getattr(rules.splits, name) or (split_of == number).any():
        return
    drawn = [corpus for corpus, its in given.items() if name not in its and corpus not in rules.train_only]
    is_theirs = np.asarray(pc.is_in(clips["corpus"].cast(pa.string()), value_set=pa.array(drawn, pa.string())))
    is_free = (split_of == TRAIN) | ((split_of == DEV) & np.asarray(pc.not_equal(clips["split"].cast(pa.string()), "dev")))
    rows = np.flatnonzero(is_theirs & is_free & np.asarray(pc.equal(clips["language"], rules.language)))
    ids, speakers = (clips[each].take(rows).to_pylist() for each in ("id", "speaker"))
    who = [speaker if speaker and rules.splits.by == "speaker" else id for id, speaker in zip(ids, speakers, strict=True)]
    order = sorted({each: draw(rules.splits.seed, "split", each) for each in who}.items(), key=lambda item: item[1])
    if len(order) > 1:
        split_of[rows[[each == order[0][0] for each in who]]] = number


def _remove_leaks(clips: pa.Table, split_of: np.ndarray, leaks: Leaks, rejects: list[Reject]) -> list[dict[str, Any]]:
    """Take what test shares with dev out of dev, and what either shares with train out of train, as the recipe says; return what was found.

    Changes `split_of` in place and adds to `rejects`.
    """
    texts = clips["text"].dictionary_encode().unify_dictionaries().combine_chunks()
    sentences = [plain(text) for text in texts.dictionary.to_pylist()]
    keys = {
        "sound": clips["recording"],
        "speaker": clips["speaker"],
        "text": pa.array(sentences, pa.string()).take(texts.indices),
    }
    codes = {what: np.where(np.asarray(pc.equal(values, "")), -1, _codes(values)) for what, values in keys.items()}
    found = []
    for low, high in ((DEV, TEST), (TRAIN, TEST), (TRAIN, DEV)):
        here, there = np.flatnonzero(split_of == low), np.flatnonzero(split_of == high)
        gone: dict[int, Reject] = {}
        for what, code in codes.items():
            where = dict(zip(code[there].tolist(), there.tolist(), strict=True))
            where.pop(-1, None)
            shared = here[np.isin(code[here], np.fromiter(where, np.int64, len(where)))]
            removes = getattr(leaks, what) == "remove"
            if len(shared):
                corpora = dict(Counter(clips["corpus"].take(shared).to_pylist()))
                found.append({"what": what, "split": SPLITS[low], "with": SPLITS[high], "clips": len(shared), "corpora": corpora,
                              "removed": removes})  # fmt: skip
            for row in shared.tolist() if removes else ():
                other, reason = clips["id"][where[int(code[row])]].as_py(), "leaked sentence" if what == "text" else f"leaked {what}"
                why = f"in {SPLITS[low]}, and {other!r} of {SPLITS[high]} has the same {what}; see leaks.{what}"
                gone.setdefault(row, Reject(clips["id"][row].as_py(), "index", reason, why))
        split_of[list(gone)] = LEAKED
        rejects += gone.values()
    return found


def _without_repeats(clips: pa.Table, rows: np.ndarray, most: int, rejects: list[Reject]) -> np.ndarray:
    """Return the rows without those that say what `most` rows before them say: learnt again and again it is learnt by heart."""
    said: Counter[str] = Counter()
    keep = np.ones(len(rows), bool)
    for place, (id, text) in enumerate(zip(*(clips[name].take(rows).to_pylist() for name in ("id", "text")), strict=True)):
        said[text] += 1
        if said[text] > most:
            keep[place] = False
            rejects.append(Reject(id, "index", "double text", f"{most} clips before it say the same; see gates.max_same_text"))
    return rows[keep]


def _draw(clips: pa.Table, rows: np.ndarray, split: str, rules: Rules) -> np.ndarray:
    """Return those of the rows of a split that are to be used, in their order."""
    if split == "train" and rules.caps:
        corpora = np.asarray(clips["corpus"].take(rows))
        parts = [_limit(clips, rows[corpora == name], rules.caps.get(name, 0), rules.splits) for name in dict.fromkeys(corpora.tolist())]
        rows = np.sort(np.concatenate(parts)) if parts else rows
    return _limit(clips, rows, {"train": rules.splits.max_train, "dev": 0, "test": rules.splits.max_test}[split], rules.splits)


def _limit(clips: pa.Table, rows: np.ndarray, most: int, splits: Splits) -> np.ndarray:
    if not most or len(rows) <= most:
        return rows
    if splits.subset == "first":
        places = np.asarray(clips["place"].take(rows))
        return np.sort(rows[np.argsort(places, kind="stable")[:most]])
    ids, speakers = (clips[name].take(rows).to_pylist() for name in ("id", "speaker"))
    wanted = sample(ids, most, splits.seed, speakers)
    return rows[[id in wanted for id in ids]]


def _codes(values: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """Return a number for each value, equal for equal ones."""
    encoded = values if pa.types.is_dictionary(values.type) else pc.dictionary_encode(values)
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    return np.asarray(encoded.indices if isinstance(encoded, pa.DictionaryArray) else encoded, dtype=np.int64)
