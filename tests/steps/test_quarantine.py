"""Clips that cannot be used: each has its reason in words, none is lost, and too many of them stop the run."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tasks.contracts.errors import CorpusError
from tasks.shards.plan import SPLITS
from tests.steps.chain import RATE, N, Run, examples, prepare, quarantine, write_corpus


def wav(n_samples: int = 6_400, quiet: float = 0.25, silent: int = 0, full: int = 0) -> np.ndarray:
    """16 kHz: a share of quiet, then a tone; `silent` samples of nothing at its start, `full` samples at full scale at its end."""
    noise = np.random.default_rng([n_samples, silent, full]).normal(scale=0.003, size=n_samples)
    samples = noise + 0.3 * np.sin(np.arange(n_samples) * 0.2) * (np.arange(n_samples) >= quiet * n_samples)
    samples[:silent] = 0
    samples[n_samples - full :] = 1
    return samples


def write_table(*rows: tuple[str, str, str]) -> None:
    Path("corpus/manifest.tsv").write_text("path\ttext\tsplit\n" + "".join("\t".join(row) + "\n" for row in rows))


def write_recording(name: str, data: np.ndarray | bytes) -> str:
    path = Path("corpus", name)
    path.write_bytes(data) if isinstance(data, bytes) else soundfile.write(path, data, 16_000, subtype="PCM_16")
    return name


GATES = {"max_seconds": 0.9, "min_text_rate": 5, "max_text_rate": 30, "max_silence": 0.9, "max_same_text": 2, "max_rejected": 1}
REFUSED = [  # words and sound that are refused, the reason, what the detail says; words and sound that are just good enough
    ("ab", wav(1_590), "too short", "0.099 s, expected at least 0.1 s", "ab", wav(1_600)),
    ("för lång", wav(14_500), "too long", "0.91 s, expected at most 0.9 s", "lagom", wav(14_400)),
    ("a", wav(6_401), "little text", "2.50 characters a second, expected at least 5", "aa", wav(6_400)),
    ("abc def ghi jk", wav(6_403), "much text", "35.0 characters a second, expected at most 30", "abc def ghi", wav(6_404)),
    ("sprucken", wav(full=330), "clipped", "5.2% of it at full scale, expected at most 5.0%", "nästan", wav(full=320)),
    ("tyst", wav(silent=6_080), "silence", "95.0% of it is silence, expected at most 90.0%", "inte helt", wav(silent=5_760)),
    ("ton", wav(quiet=0), "no speech", "its level never changes", "tal", wav(6_405)),
    ("мир", wav(6_406), "foreign letters", "'мир': мир not of the language's alphabet; see gates.alphabet", "världen", wav(6_407)),
    (" ", wav(6_408), "empty text", "no words beside the recording", "ord", wav(6_409)),
    ("<|en|> hej", wav(6_410), "control text", "'<|en|> hej' holds one of Whisper's special tokens", "<en> hej", wav(6_411)),
    ("hej igen", b"RIFF but no sound", "unusable audio", "cannot be decoded", "hej", wav(6_412)),
    ("åäöåäöåä", wav(6_413), "label too long", "tokens, the model takes at most 16", "åäö", wav(6_414)),
]


@pytest.fixture
def gated(first: Run) -> tuple[list[tuple[str, str, str]], Run]:
    """A table with a clip outside each gate and one just inside, among clips that nobody minds; and what came of it."""
    rows = [(f"clip-{number:03d}.wav", f"klipp {number}", SPLITS[number % 3]) for number in range(12)]
    for number, (bad_text, bad, _, _, good_text, good) in enumerate(REFUSED):
        rows.append((write_recording(f"bad-{number}.wav", bad), bad_text, "train"))
        rows.append((write_recording(f"good-{number}.wav", good), good_text, "train"))
    rows += [(f"clip-{20 + number:03d}.wav", "om igen", "train") for number in range(3)]  # max_same_text is 2
    rows += [("gone.wav", "borta", "train"), ("clip-030.wav", "annan", "trian"), ("../x.wav", "utanför", "train"), rows[0]]
    write_table(*rows)
    return rows, prepare(gates=GATES)


def test_every_gate_says_why_in_words_and_lets_pass_what_lies_just_inside(gated: tuple[list[tuple[str, str, str]], Run]) -> None:
    _, run = gated
    refused = {row["id"]: row for row in quarantine(run)}
    for number, (_, _, reason, says, *_) in enumerate(REFUSED):
        assert refused[f"bad-{number}.wav"]["reason"] == reason and says in refused[f"bad-{number}.wav"]["detail"]
    for id, reason in (("gone.wav", "missing file"), ("clip-030.wav", "unknown split"), ("../x.wav", "path outside"),
                       ("clip-022.wav", "double text"), ("clip-000.wav", "double id")):  # fmt: skip
        assert refused[id]["reason"] == reason and refused[id]["detail"]
    assert {f"good-{number}.wav" for number in range(len(REFUSED))} <= set(examples(run))


def test_every_row_is_accepted_or_in_quarantine(gated: tuple[list[tuple[str, str, str]], Run]) -> None:
    rows, run = gated
    refused = quarantine(run)
    assert sorted([*examples(run), *(row["id"] for row in refused)]) == sorted(id for id, *_ in rows)
    assert run.dataset.facts["n_rejected"] == len(refused)
    assert run.dataset.facts["rejected"] == Counter(row["reason"] for row in refused)
    assert sum(run.dataset.facts["splits"].values()) == len(rows) - len(refused)


def test_a_sound_in_two_splits_stays_in_the_test(first: Run) -> None:
    rows = [(f"clip-{number:03d}.wav", f"klipp {number}", SPLITS[number % 3]) for number in range(12)]
    shutil.copy("corpus/clip-002.wav", "corpus/again.wav")  # of test
    soundfile.write("corpus/other.flac", soundfile.read("corpus/clip-005.wav")[0], RATE, subtype="PCM_16")  # another file, the same sound
    write_table(("again.wav", "igen", "train"), ("other.flac", "annan", "dev"), *rows)
    run = prepare(gates={"max_rejected": 0.2})
    assert {row["id"]: (row["reason"], row["detail"]) for row in quarantine(run)} == {
        "again.wav": ("leaked sound", "in train, and 'clip-002.wav' of test has the same sound; see leaks.sound"),
        "other.flac": ("double sound", "the same sound as clip 'clip-005.wav'; gates.same_sound"),
    }
    assert len(examples(prepare(gates={"same_sound": "keep"}, leaks={"sound": "keep"}))) == 14


def test_more_than_the_recipe_allows_in_quarantine_stops_the_run_with_an_example(first: Run) -> None:
    write_corpus(range(N), texts=dict.fromkeys(range(20), ""))
    assert prepare().dataset.facts["n_rejected"] == 20, "a tenth, as allowed"
    write_corpus(range(N), texts=dict.fromkeys(range(21), ""))
    message = (r"^10\.5% of the clips are in quarantine \(21 empty text\), expected at most 10\.0%; "
               r"for example 'clip-000\.wav': no words beside the recording\. Mend the corpus, or change gates$")  # fmt: skip
    with pytest.raises(CorpusError, match=message):
        prepare()


def test_what_is_refused_is_counted_against_all_rows_and_not_against_those_drawn(first: Run) -> None:
    write_corpus(range(N), texts=dict.fromkeys(range(15), ""))
    assert prepare(splits={"max_train": 10}).dataset.facts["n_rejected"] == 15, "7.5 % of the corpus, a third of what is used"
    for number in range(15, N):
        Path(f"corpus/clip-{number:03d}.wav").write_bytes(
            f"no sound {number}".encode() if number % 8 == 0 else Path(f"corpus/clip-{number:03d}.wav").read_bytes()
        )
    with pytest.raises(CorpusError, match=r"of the clips are in quarantine \(15 empty text, \d unusable audio\), expected at most 10"):
        prepare(splits={"max_train": 10})


def test_a_split_of_which_nothing_is_left_is_refused_with_its_reasons(first: Run) -> None:
    write_recording("steady.wav", wav(quiet=0))
    write_table(("clip-001.wav", "ett", "train"), ("clip-002.wav", "två", "dev"), ("steady.wav", "tre", "test"))
    with pytest.raises(CorpusError, match=r"no clip of split 'test' is left: 1 in quarantine \(1 no speech\), for example 'steady\.wav'"):
        prepare()


def test_the_quarantine_is_a_table_of_which_a_spreadsheet_computes_nothing(first: Run) -> None:
    ids = ["=1+2.wav", "+a.wav", "-b.wav", "@SUM(A1).wav", 'with, "quotes".wav', "åäö.wav"]
    write_table(*((f"clip-{number:03d}.wav", f"klipp {number}", SPLITS[number % 3]) for number in range(60)), *((id, "", "") for id in ids))
    rows = quarantine(prepare())
    assert [row["id"] for row in rows] == ["'=1+2.wav", "'+a.wav", "'-b.wav", "'@SUM(A1).wav", 'with, "quotes".wav', "åäö.wav"]
    assert all(list(row) == ["id", "stage", "reason", "detail"] and None not in row.values() for row in rows)


def test_leaks_are_in_quarantine_and_say_nothing_against_the_corpus(first: Run) -> None:
    write_table(
        *((f"clip-{n:03d}.wav", f"klipp {n % 20 if n < 40 else n}", "test" if n < 20 else "train" if n < 80 else "dev") for n in range(90))
    )
    run = prepare(gates={"max_rejected": 0.01})
    assert [row["reason"] for row in quarantine(run)] == ["leaked sentence"] * 20 and run.dataset.facts["n_rejected"] == 20
    assert [(each["what"], each["split"], each["with"], each["clips"], each["removed"]) for each in run.dataset.facts["leaks"]] == [
        ("text", "train", "test", 20, True)
    ]
    write_table(*((f"clip-{n:03d}.wav", "" if n == 60 else f"klipp {n % 20 if n < 40 else n}", SPLITS[n % 3]) for n in range(90)))
    with pytest.raises(CorpusError, match=r"^\d\.\d% of the clips are in quarantine \(1 empty text\)"):
        prepare(gates={"max_rejected": 0.01})


def test_sentences_said_more_often_than_wished_say_nothing_against_the_corpus(first: Run) -> None:
    write_table(*((f"clip-{n:03d}.wav", "om igen" if n % 3 == 0 else f"klipp {n}", SPLITS[n % 3]) for n in range(60)))
    run = prepare(gates={"max_same_text": 3, "max_rejected": 0.01})
    assert [row["reason"] for row in quarantine(run)] == ["double text"] * 17
