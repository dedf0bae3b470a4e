"""The page, for real: the app on loopback, a client that presses its buttons, and what then stands in the store."""

import io
from collections.abc import Iterator

import pytest
import soundfile
from gradio_client import Client

from tasks.audit import rank_suspects
from tasks.contracts.errors import StoreError
from tasks.corrections.decisions import correction, newest, read_log, save
from tasks.corrections.desk import Desk
from tasks.corrections.page import build, card, marked, progress, upcoming
from tasks.store.objects import Store
from tests.corrections.conftest import N_CLIPS, audited, heard, rows_of
from tests.steps.chain import Run, prepare


def held() -> dict[str, tuple[str, str]]:
    """Return what holds in the store: verdict and text by id."""
    return {id: (each.verdict, each.text) for id, each in newest(read_log(Store("store"), "viska")).items()}


def test_suspects_are_the_clips_that_were_heard_as_something_else(desk: Desk, run: Run) -> None:
    assert [row["id"] for row in desk.suspects] == ["clip-011.wav", "clip-003.wav", "clip-007.wav"]
    assert desk.suspects[2]["reasons"] == ["says '7' where the label says '70', with confidence 0.99"]
    assert desk.n_clips == N_CLIPS


def test_predictions_of_other_labels_are_refused(run: Run) -> None:
    predictions, row = heard(run), rows_of(run)[0]
    save(Store("store"), "viska", [correction(row["id"], row["recording"], row["text"], "annat")])
    mended = prepare().dataset
    with pytest.raises(StoreError, match=rf"the predictions are of other clips or labels, for example '{row['id']}'; transcribe this"):
        rank_suspects.fn("store", mended, mended.key, predictions, "sv")


def test_a_clip_is_heard_as_it_is_trained_on(desk: Desk) -> None:
    samples, rate = soundfile.read(io.BytesIO(desk.sound(0)))
    assert rate == 16_000 and len(samples) == 6_400


def test_words_of_a_corpus_are_no_markup(desk: Desk) -> None:
    place = next(place for place, row in enumerate(desk.suspects) if "<b>" in row["heard"])
    desk.suspects[place]["reasons"].append("<script>alert(1)</script>")
    page = card(desk, place)
    assert "<script>" not in page and "&lt;script&gt;" in page and "<b>" not in page
    assert marked("en röd katt", "en blå katt nu") == ("en <del>röd</del> katt", "en <ins>blå</ins> katt <ins>nu</ins>")
    assert marked("", "") == ("<em>nothing</em>", "<em>nothing</em>")


def test_a_desk_goes_through_the_suspects_and_takes_back(desk: Desk) -> None:
    assert desk.next() == 0 and desk.next(2) == 0
    act = desk.decide(0, "correct", " något  annat ")
    assert held() == {"clip-011.wav": ("correct", "något annat")} and desk.next(0) == 1 and desk.verdict(0) == "correct"
    again = desk.decide(0, "drop")
    desk.undo(again)
    assert held() == {"clip-011.wav": ("correct", "något annat")}
    desk.undo(act)
    assert held() == {"clip-011.wav": ("open", "")} and desk.next() == 0
    assert len(read_log(Store("store"), "viska")) == 4, "undo is a newer decision"
    for place in range(3):
        desk.decide(place, "accept")
    assert desk.next() is None and "All suspects are judged" in card(desk, None) and upcoming(desk, None) == []
    assert "3 of 3 suspects judged (3 right, 0 corrected, 0 dropped); 60 clips were heard" in progress(desk)


def test_two_people_see_what_the_other_decided(desk: Desk, run: Run) -> None:
    other = Desk(Store("store"), "viska", audited(run), run.dataset)
    desk.decide(0, "accept")
    other.decide(1, "drop")
    assert other.next() == 2 and [desk.verdict(place) for place in range(3)] == ["accept", "", ""]
    desk.refresh()
    assert desk.next() == 2


def test_a_sound_that_is_gone_is_told_in_words(desk: Desk) -> None:
    for path in {row["shard"] for row in desk.suspects}:
        Store("store").delete(desk.dataset.facts["sounds"][path][1])
    with pytest.raises(StoreError, match=r"damaged|the sound of 'clip-011\.wav' is gone from the store"):
        desk.sound(0)
    assert "<audio" not in card(desk, 0) and "store" in card(desk, 0)


@pytest.fixture
def client(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    page = build(desk)
    _, url, _ = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, share=False, footer_links=[])
    yield Client(url, verbose=False)
    page.close()


def test_the_buttons_save_at_once(client: Client) -> None:
    _, first, text, note, table = client.predict(api_name="/open")
    assert "clip-011.wav" in first and 'src="data:audio/flac;base64,' in first and text == "något helt annat" and note == ""
    assert [row[0] for row in table["data"]] == [2, 3]
    bar, second, text, *_ = client.predict(text="något annat", note="hör själv", api_name="/correct")
    assert held() == {"clip-011.wav": ("correct", "något annat")} and "clip-003.wav" in second and text == "<b>klipp</b> 33"
    assert "1 of 3 suspects judged (0 right, 1 corrected, 0 dropped)" in bar
    assert "clip-007.wav" in client.predict(api_name="/skip")[1] and len(held()) == 1
    assert "clip-003.wav" in client.predict(text="", note="", api_name="/drop")[1] and held()["clip-007.wav"] == ("drop", "")
    with pytest.raises(Exception, match="a correction without a word"):
        client.predict(text=" .", note="", api_name="/correct")
    assert "clip-007.wav" in client.predict(api_name="/undo")[1] and held()["clip-007.wav"] == ("open", "")
    assert "clip-003.wav" in client.predict(text="", note="", api_name="/accept")[1]
    assert "All suspects are judged" in client.predict(text="", note="", api_name="/accept")[1]
    with pytest.raises(Exception, match="All suspects are judged"):
        client.predict(text="", note="", api_name="/accept")
