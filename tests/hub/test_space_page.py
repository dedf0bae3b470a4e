"""What the page says and shows, and what is kept of corrections. About 5 s."""

import json
import re
import string
from hashlib import sha256
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from tasks.audio.decode import encode_flac
from tasks.contracts.corpora import FolderCorpus, MixCorpus, MixPart
from tasks.contracts.errors import StoreError
from tasks.corpora import Recording, recordings
from tasks.corrections.apply import Applied
from tasks.corrections.decisions import Decision, newest, read_log, save
from tasks.hub.space import keep, look, show
from tasks.hub.space.keep import Keeper, withdraw
from tasks.hub.space.listen import Correction, Result, correct
from tasks.hub.space.texts import LANGUAGES, TEXTS, preferred, texts
from tasks.model.words import Piece, Word
from tasks.store.objects import Store

EVIL = '<script>alert("1")</script>'


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_every_text_is_there_in_every_language_with_the_same_fields() -> None:
    for key, each in TEXTS.items():
        assert list(each) == list(LANGUAGES) and all(text.strip() for text in each.values()), key
        assert len({frozenset(fields(text)) for text in each.values()}) == 1, f"{key}: other fields"
        assert len({tuple(re.findall(r"<[^>]*>", text)) for text in each.values()}) == 1, f"{key}: other markup"
    same = {key for key, each in TEXTS.items() if each["en"] == each["sv"]}
    assert same == {"text_file"}, "not translated"
    assert texts("xx") == texts("en")


def test_every_text_is_used() -> None:
    code = "".join(file.read_text() for file in Path(look.__file__).parent.glob("*.py") if file.name != "texts.py")
    assert [key for key in TEXTS if not re.search(rf"['\"]{key}['\"]", code)] == []


@pytest.mark.parametrize(("asked", "page"), [
    ("sv-SE,sv;q=0.9,en;q=0.5", "sv"), ("en-GB,sv;q=0.9", "en"), ("de,fr;q=0.9", "en"), ("de;q=0.9,sv;q=0.4,en;q=0.2", "sv"), ("", "en"),
    ("sv;q=0,en;q=0.1", "en"), ("sv;q=x, en", "en"), ("SV", "sv"), (";;,,q=", "en"),
])  # fmt: skip
def test_the_page_takes_the_language_that_the_browser_asks_for(asked: str, page: str) -> None:
    assert preferred(asked) == page


@pytest.mark.parametrize(("colours", "pair"), list(product((look.LIGHT, look.DARK), look.READ)))
def test_every_colour_can_be_read_on_what_it_stands_on(colours: dict[str, str], pair: tuple[str, str]) -> None:
    """WCAG 2.2, success criterion 1.4.3: a contrast of 4.5."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted(luminance(colours[name]) for name in pair)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def result(**changes: object) -> Result:
    words = (Word("röd", 0, 0.5, 0.95), Word(EVIL, 0.5, 1, 0.8), Word("katt", 1, 1.5, 0.3))
    pieces = (Piece(0, 1.5, f"röd {EVIL} katt", words), Piece(2, 3, "hej", (Word("hej", 2, 3, 1.0),)))
    return Result(**({"seconds": 3.0, "done": 3.0, "pieces": pieces} | changes))  # type: ignore[arg-type]


def test_what_a_model_or_a_visitor_says_is_no_markup() -> None:
    t, evil = texts("en"), result(base=(f"röd {EVIL} hund", "hej"), flac=Path('/tmp/a"b/recording.flac'))
    told = [show.transcript(t, evil, (EVIL, EVIL), "sv", True, True), show.heading(t, EVIL, EVIL, EVIL, "en"), show.failure(EVIL, EVIL),
            show.said(EVIL), show.correcting(t, evil, 0), show.downloads(t, evil, True), show.player(t, evil)]  # fmt: skip
    assert not any("<script" in each or 'alert("' in each for each in told)
    assert 'a"b' not in told[-1] and "a%22b" in told[-1]


def test_unsure_words_are_marked_and_counted_and_what_the_base_hears_otherwise_too() -> None:
    t = texts("en")
    page = show.transcript(t, result(base=("Röd, gul katt", "hej")), ("new", "old"), "sv", False, True)
    assert '<span class="unsure" title="80 % sure">' in page and '<span class="doubtful" title="30 % sure">katt</span>' in page
    assert "Röd, <mark>gul</mark> katt" in page and "<mark>hej" not in page and "data-wrong" not in page
    assert "4 words in 0:03, 2 of them unsure" in show.status(t, result(), False)
    assert "Nobody speaks" in show.status(t, result(pieces=()), False) and "Stopped at 0:02 of 0:03" in show.status(
        t, result(done=2.0), False
    )
    assert 'value="0.667"' in show.status(t, result(done=2.0), True) and "value" not in show.status(t, Result(), True)
    assert (show.clock(7.9), show.clock(754), show.clock(3_725)) == ("0:07", "12:34", "1:02:05")


def given(text: str, tone: float = 0.1) -> Correction:
    return Correction(encode_flac((0.3 * np.sin(np.arange(8_000) * tone)).astype(np.float32)), 0.5, "hört", text)


def test_a_correction_is_the_piece_alone_and_the_page_has_its_text(tmp_path: Path) -> None:
    tone = (0.3 * np.sin(np.arange(48_000) * 0.1)).astype(np.float32)
    (tmp_path / "recording.flac").write_bytes(encode_flac(tone))
    kept, after = correct(result(flac=tmp_path / "recording.flac"), 1, "hejsan du")
    assert kept.flac == encode_flac(tone[32_000:]) and (kept.seconds, kept.was, kept.text) == (1.0, "hej", "hejsan du")
    assert (
        [word.text for word in after.pieces[1].words] == ["hejsan", "du"]
        and after.pieces[0] == result().pieces[0]
        and after.corrected == {1}
    )
    with pytest.raises(FileNotFoundError):
        correct(result(flac=tmp_path / "gone.flac"), 1, "hejsan")


def test_corrections_are_training_material_under_the_names_of_a_mix(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    receipts = [Keeper(store, "sv")(given("ett", 0.1)), Keeper(store, "sv")(given("två", 0.2)), Keeper(store, "sv")(given("ett till", 0.1))]
    assert receipts[0] == receipts[2] == sha256(given("", 0.1).flac).hexdigest()[:12]
    folder = FolderCorpus(path=str(tmp_path / "visitors" / "sv"))
    rows = list(recordings(MixCorpus(parts=(MixPart(name="visitors", corpus=folder, use="train"),))))
    table = newest(read_log(store, "sv"))
    assert {row.text for row in rows if isinstance(row, Recording)} == {"ett till", "två"} and len(rows) == 2
    applied = Applied(table)
    for row in rows:
        assert isinstance(row, Recording) and row.split == "train"
        assert applied.label(row.id, sha256(row.read()).hexdigest(), row.text, str) == row.text
    assert applied.counts() == {"n_corrected": 2, "n_dropped": 0, "n_accepted": 0, "n_stale": 0}


def test_what_the_audit_drops_leaves_the_manifest(tmp_path: Path) -> None:
    store, keeper = Store(str(tmp_path)), Keeper(Store(str(tmp_path)), "sv")
    keeper(given("ett", 0.1))
    [id] = newest(read_log(store, "sv"))
    save(
        store,
        "sv",
        [
            Decision(id=id, recording=id[9:-5], was="ett", verdict="drop"),
            Decision(id="b.wav", recording="0" * 64, was="b", verdict="accept"),
        ],
    )
    keeper(given("två", 0.2))
    assert [json.loads(line)["text"] for line in (tmp_path / "visitors/sv/manifest.jsonl").read_text().splitlines()] == ["två"]


def test_a_withdrawn_correction_leaves_no_sound_and_no_word(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    keeper = Keeper(store, "sv")
    receipt, other = keeper(given("hemligt", 0.1)), keeper(given("annat", 0.2))
    keeper(given("hemligare", 0.1))
    assert withdraw(store, "sv", receipt) == 2
    left = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert not any(b"hemlig" in data or receipt in file.name for file, data in left.items())
    assert [file.name[:12] for file in left if file.suffix == ".flac"] == [other]
    assert [row.text for row in recordings(FolderCorpus(path=str(tmp_path / "visitors/sv"))) if isinstance(row, Recording)] == ["annat"]
    for wrong in (receipt, "", "0" * 12, other[:5]):
        with pytest.raises(StoreError, match=r"withdrawn already|is no number of a correction"):
            withdraw(store, "sv", wrong)


def test_strangers_do_not_fill_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep, "MOST", 1)
    keeper = Keeper(Store(str(tmp_path)), "sv")
    keeper(given("ett", 0.1))
    keeper(given("ett till", 0.1))
    with pytest.raises(StoreError, match="holds 1 corrections; use them, then go on under another name"):
        keeper(given("två", 0.2))
    assert len(list((tmp_path / "visitors" / "sv").glob("*.flac"))) == 1
