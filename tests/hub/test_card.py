from copy import deepcopy

import pytest
import yaml
from huggingface_hub import ModelCard

from tasks.contracts.errors import ReleaseError
from tasks.hub.card import Publication, check_card, write_card
from tasks.scoring.normalise import normaliser_for
from tasks.scoring.prediction import Prediction
from tasks.scoring.report import compare

SAID = [("a", "en båt", "s1"), ("b", "två röda hästar", "s2"), ("c", "tre", "s2")]
BEFORE = [Prediction(id, text, "fel", True) for id, text, _ in SAID]
AFTER = [Prediction(id, text, text.replace("röda", "blå"), False) for id, text, _ in SAID]
CLIPS = [{"id": id, "speaker": speaker} for id, _, speaker in SAID]
REPORT = compare(BEFORE, AFTER, CLIPS, normaliser_for("sv"), set(), resamples=200, seed=0) | {
    "name": "test",
    "language": "sv",
    "decoding": "greedy",
    "start": {"name": "openai/whisper-tiny", "commit": "abc", "digest": "d0"},
    "checkpoint": {"steps": 4, "best_step": 2, "dev_wer": 0.5, "n_epochs": 1.0, "n_parameters": 1234567, "digest": "d1"},
    "dataset": {
        "splits": {"train": 5, "dev": 2, "test": 3},
        "hours": {"train": 0.1, "dev": 0.1, "test": 0.1},
        "n_rejected": 1,
        "leaks": [],
        "corpora": [
            {
                "name": "",
                "language": "sv",
                "splits": {"train": 5, "dev": 2, "test": 3},
                "hours": 0.3,
                "n_speakers": 4,
                "weight": 1.0,
                "licences": {"": 10},
            }
        ],
        "digest": "d2",
    },
    "test": {"name": "test", "n_clips": 3},
    "recipe": {"corpus": {"kind": "folder"}},
}


def test_the_hubs_own_reader_understands_the_metadata() -> None:
    data = ModelCard(write_card(REPORT, "whisper-test", "apache-2.0", "CC0-1.0")).data
    assert (data.language, data.license, data.base_model, data.pipeline_tag) == (
        "sv", "apache-2.0", "openai/whisper-tiny", "automatic-speech-recognition"
    )  # fmt: skip
    wer = next(each for each in data.eval_results if each.metric_type == "wer" and "normalised" in each.metric_name)
    assert wer.metric_value == pytest.approx(100 / 6, abs=0.01) and wer.dataset_split == "test"  # one of six words


def test_the_card_says_the_same_numbers_as_the_report_with_their_intervals() -> None:
    card = write_card(REPORT, "whisper-test", "apache-2.0", "CC0-1.0")
    after = REPORT["after"]["wer"]
    assert f"| {100 * after['value']:.1f} % ({100 * after['low']:.1f} to {100 * after['high']:.1f}) |" in card
    assert "1,234,567 parameters" in card and "CC0-1.0" in card and "synthetic" not in card


def test_a_card_of_a_test_that_is_too_small_for_intervals_says_so() -> None:
    alone = compare(BEFORE[1:2], AFTER[1:2], CLIPS[1:2], normaliser_for("sv"), set(), resamples=200, seed=0)
    card = write_card(REPORT | alone, "whisper-test", "apache-2.0", "CC0-1.0")
    assert "| 33.3 % (no interval) | 66.7 (no interval) |" in card and "there is no interval: nearly all words are of one clip." in card
    assert "None" not in card and "bootstrap" not in card
    assert "by paired bootstrap over speakers." in write_card(REPORT | {"unit": "speakers"}, "x", "mit", "none")
    assert "by paired bootstrap over clips, so of these voices alone." in write_card(REPORT | {"unit": "clips"}, "x", "mit", "none")


def test_a_card_of_the_demonstration_says_that_its_voices_are_synthetic() -> None:
    report = deepcopy(REPORT)
    report["recipe"]["corpus"]["kind"] = "espeak"
    assert "The voices are synthetic" in write_card(report, "whisper-test", "apache-2.0", "none")


def test_a_card_names_the_licences_of_the_corpora_and_the_recipes_word_for_them_all() -> None:
    own = REPORT["dataset"]["corpora"][0]
    radio = own | {"name": "radio", "weight": 0.5, "n_speakers": 0, "licences": {"CC-BY-4.0": 7, "[x](https://evil.se) | <b>": 2, "": 1}}
    report = REPORT | {"dataset": REPORT["dataset"] | {"corpora": [own, radio]}}
    card = write_card(report, "x", "mit", "unknown")
    assert (
        "\n\n- folder: Swedish, 10 clips (0.3 h) of 4 speakers\n- radio: Swedish, 10 clips (0.3 h) of unknown speakers, weight 0.5, "
        in card
    )
    assert ", licence CC-BY-4.0; x (https evil.se) b\n\nThe test is" in card, "a stranger's words are not the card's markup"
    assert "Licence of the recordings" not in card and "on the test clips of these corpora only" in card
    assert "Licence of the recordings: CC0-1.0, mostly.\n" in write_card(report, "x", "mit", "CC0-1.0, mostly")
    assert "Licence of the recordings: unknown.\n" in write_card(REPORT, "x", "mit", "unknown")


def test_a_card_says_which_test_it_was_and_what_splits_shared() -> None:
    assert (
        "The test is the one frozen as `test` with 3 clips. No two splits share a speaker, a sentence or a file.\n\n## Limits"
        in write_card(REPORT, "x", "mit", "none")
    )
    leaks = [{"what": "text", "split": "train", "with": "test", "clips": 2, "corpora": {}, "removed": False},
             {"what": "sound", "split": "dev", "with": "test", "clips": 1, "corpora": {}, "removed": True}]  # fmt: skip
    report = REPORT | {"dataset": REPORT["dataset"] | {"leaks": leaks}, "test": {"name": "swedish", "n_clips": 5}}
    assert (
        "frozen as `swedish` with 5 clips, of which 3 can be used. 2 clips of train with the same text as in test: kept; 1 clip of dev "
        "with the same sound as in test: taken out.\n"
    ) in write_card(report, "x", "mit", "none")


def test_javanese_is_written_as_the_hub_writes_it() -> None:
    assert ModelCard(write_card(REPORT | {"language": "jw"}, "x", "mit", "none")).data.language == "jv"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"language": "sv-SE"}, "card: language 'sv-SE', expected an ISO 639 code"),  # pitfall 37
        ({"language": None}, "card: language '', expected"),
        ({"license": None}, "card: license None, expected an identifier"),
        ({"model-index": [{"results": [{"dataset": {"type": "x"}, "metrics": [{}]}]}]}, "a result lacks its metric"),
    ],
)
def test_what_the_hub_would_refuse_is_refused_before_anything_travels(change: dict, message: str) -> None:
    metadata = {"language": "sv", "license": "mit"} | change
    with pytest.raises(ReleaseError, match=message):
        check_card(f"---\n{yaml.safe_dump(metadata)}---\n\ntext")


@pytest.mark.parametrize(("token", "says"), [
    ("fi", "Whisper does not know Northern Sami: it is written with the token of Finnish, so the model says that its language is `fi`."),
    ("new", "Whisper does not know Northern Sami: a token of its own was added, `<|se|>`."),
])  # fmt: skip
def test_a_language_that_whisper_does_not_know_is_named_with_the_token_it_is_written_with(token: str, says: str) -> None:
    card = write_card(REPORT | {"language": "se", "recipe": REPORT["recipe"] | {"language_token": token}}, "x", "mit", "none")
    assert ModelCard(card).data.language == "se"
    assert "A Whisper model for Northern Sami (`se`), started" in card and f"\n\n{says}\n\n## Scores" in card


def test_a_card_says_nothing_of_tokens_where_whisper_knows_the_language() -> None:
    for recipe in (REPORT["recipe"], REPORT["recipe"] | {"language_token": ""}):
        card = write_card(REPORT | {"recipe": recipe}, "x", "mit", "none")
        assert "A Whisper model for Swedish (`sv`), started" in card and "token" not in card


def test_a_card_without_metadata_is_refused() -> None:
    with pytest.raises(ReleaseError, match="no metadata"):
        check_card("# whisper-test")


@pytest.mark.parametrize("metadata", ["a: [", "[1, 2]", "just words"])
def test_metadata_that_are_no_fields_are_refused(metadata: str) -> None:
    with pytest.raises(ReleaseError, match="the card's metadata are"):
        check_card(f"---\n{metadata}\n---\n\ntext")


GAIN = {"value": 0.05, "low": 0.01, "high": 0.09}
VERDICT = {"wins": True, "reasons": [], "champion": "v2", "checks": [{"what": "WER", "gain": GAIN}]}
PLAIN = {"what": "release", "wer": GAIN, "gain": GAIN, "champion": "v1", "approval": {}, "comment": ""}
HISTORY = [
    PLAIN | {"version": 1, "champion": "the model it started from", "at": "2026-01-02T03:04:05+00:00"},
    PLAIN | {"version": 2, "approval": {"comment": "heard | it"}, "at": "2026-02-02T03:04:05+00:00"},
    PLAIN | {"what": "rollback", "version": 1, "comment": "loud <b>", "at": "2026-03-02T03:04:05+00:00"},
]
EXPORTS = [{"format": name, "n_clips": 50, "wer": 0.001, "tolerance": 0.01} for name in ("ctranslate2", "ggml-q5_0")]


def published(**change: object) -> str:
    return write_card(REPORT, "x", "mit", "none", Publication("team/x", 3, **{"verdict": VERDICT, "history": HISTORY} | change))  # type: ignore[arg-type]


def test_a_release_tells_its_version_and_those_before_it_the_newest_first() -> None:
    card = published()
    assert "\n\nRelease v3. Wins against v2.\n\n## Scores" in card and ModelCard(card).data.license == "mit"
    rows = [line for line in card.split("## Releases")[1].splitlines() if line.startswith("|")]
    assert [row.split("|")[1].strip() for row in rows[2:]] == ["**v3**", "back to v1", "v2", "v1"]
    assert "| 5.0 (1.0 to 9.0) | v2 | this one |" in rows[2] and "2026-03-02; loud b" in rows[3] and "2026-02-02; heard it" in rows[4]
    assert all(row.count("|") == 6 for row in rows)


def test_what_a_person_said_and_what_the_gate_refused_is_told() -> None:
    assert "Approved by a person: fine by me." in published(approval={"decision": "approve", "comment": "fine by me"})
    assert "Approved by a person.\n" in published(approval={"decision": "approve", "comment": ""})
    refused = VERDICT | {"wins": False, "reasons": ["WER: gain 0.1 points"]}
    assert "Release v3. Does not win against v2: WER: gain 0.1 points." in published(verdict=refused)


def test_a_model_of_the_hub_is_used_by_its_name_and_version() -> None:
    assert 'model="team/x", revision="v3")' in published() and "viska transcribe team/x recording.wav" in published()
    folder = write_card(REPORT, "x", "mit", "none", Publication("", 3, verdict=VERDICT, history=HISTORY))
    assert 'model="PATH_OR_ID_OF_THIS_MODEL")' in folder


def test_exports_are_shown_with_how_to_use_them_and_how_near_they_are() -> None:
    card = published(exports=EXPORTS)
    assert "faster_whisper" in card and "ggml/ggml-model-q5_0.bin recording.wav" in card
    assert "| ctranslate2 | 50 | 0.10 % | 1.00 % |" in card and "faster_whisper" not in published()


def test_what_else_was_measured_stands_in_the_card_and_not_among_its_limits() -> None:
    rate = {"before": GAIN, "after": GAIN, "gain": GAIN}
    long = rate | {"n_recordings": 3, "silence": {"seconds": 50.0, "before": 9, "after": 2}}
    more = REPORT | {"long_form": long, "forgetting": [rate | {"name": "fleurs-en", "language": "en"}]}
    card = write_card(more, "x", "mit", "none")
    assert "| 3 recordings of minutes | 5.0 % (1.0 to 9.0) |" in card and "| another test: fleurs-en, English | 5.0 %" in card
    assert "In 50 s in which nobody speaks, 9 words were made up before and 2 after." in card
    assert "besides, timestamps and translation, was not measured" in card
    assert "besides, other languages, long recordings, timestamps and translation, was" in write_card(REPORT, "x", "mit", "none")
