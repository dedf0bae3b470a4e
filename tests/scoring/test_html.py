"""The page opens offline, leaves out what was not measured, and shows what people said as text."""

import re
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from tasks.scoring.html import mark_errors, render_comparison, render_report
from tasks.scoring.summary import comparison_lines, slices_table, summary

SAID = "Vi åker till skärgården i morgon bitti, om vädret tillåter."
VOID = {"meta", "br", "img", "input", "link", "hr"}


def interval(value: float, wide: float = 0.012) -> dict[str, float]:
    return {"value": value, "low": value - wide, "high": value + wide}


def slice_of(by: str, name: str, n: int, before: float, after: float) -> dict[str, Any]:
    wide = 0.9 / n**0.5
    told = {"n_clips": n, "n_speakers": n // 12, "n_words": 9 * n, "before": interval(before, wide), "after": interval(after, wide / 2)}
    return {"by": by, "name": name, **told, "gain": interval(before - after, wide / 2)}


SLICES = [
    slice_of("duration", "under 2 s", 212, 0.412, 0.231), slice_of("duration", "2 to 5 s", 940, 0.262, 0.101),
    slice_of("duration", "5 to 10 s", 610, 0.241, 0.094), slice_of("duration", "10 s and more", 117, 0.252, 0.112),
    slice_of("loudness", "quiet", 320, 0.351, 0.182), slice_of("loudness", "as usual", 1310, 0.246, 0.096),
    slice_of("gender", "women", 702, 0.241, 0.098), slice_of("gender", "men", 1011, 0.262, 0.107),
    slice_of("gender", "unknown", 166, 0.33, 0.141),
    slice_of("corpus", "common voice 21", 1210, 0.251, 0.101),
    slice_of("corpus", "radio archive, dialects of the far north", 669, 0.281, 0.118),
    slice_of("words", "with digits", 98, 0.402, 0.287), slice_of("words", "without digits", 1781, 0.259, 0.104),
]  # fmt: skip


def mistakes(scale: int) -> dict[str, Any]:
    pairs = [("de", "dom"), ("ska", "skall"), ("nån", "någon"), ("sa", "sade"), ("mej", "mig"), ("skärgården", "skärgård")]
    return {
        "n_right": 15700 - 700 * scale, "n_substituted": 520 * scale, "n_deleted": 160 * scale, "n_inserted": 90 * scale,
        "confused": [{"said": a, "heard": b, "n": scale * (31 - 4 * n)} for n, (a, b) in enumerate(pairs[scale - 1 :])],
        "missed": [{"word": word, "n": scale * (22 - n)} for n, word in enumerate(["och", "att", "i", "ju", "väl"])],
        "made_up": [{"word": word, "n": scale * (12 - n)} for n, word in enumerate(["så", "ja", "och"])],
        "characters": [{"said": a, "heard": b, "n": scale * (40 - 5 * n)} for n, (a, b) in enumerate(["åo", "äe", "ö ", "dt", "gj"])],
    }  # fmt: skip


def invented(n: int) -> dict[str, Any]:
    clips = [{"id": "sv_0192", "text": "tack tack tack tack tack tack tack tack", "why": ["repeats", "capped"]},
             {"id": "sv_0733", "text": "Undertexter av Amara.org-gemenskapen", "why": ["on silence"]}]  # fmt: skip
    return {
        "n_clips": 3 * n,
        "n_repeats": n,
        "n_dense": n,
        "n_on_silence": n + 1,
        "n_too_long": n,
        "n_capped": n,
        "clips": clips[: 1 + n // 4],
    }


def calibration(error: float, wer: float) -> dict[str, Any]:
    bins = [{"low": at / 10, "high": (at + 1) / 10, "n_clips": 40 * at, "confidence": at / 10 + 0.05,
             "right": max(0, at / 10 + 0.05 - error)}
            for at in range(10)]  # fmt: skip
    thresholds = [{"confidence": at / 10, "kept": 1 - (at / 10) ** 3, "wer": wer * (1 - at / 12)} for at in (0, 3, 5, 6, 7, 8, 9)]
    return {"bins": bins, "error": error, "auc": 0.88 - error, "thresholds": thresholds}


def rates(scale: float, n_capped: int) -> dict[str, Any]:
    wide = 0.014 * scale
    return {
        "wer": interval(0.106 * scale, wide), "cer": interval(0.041 * scale, wide / 2), "wer_raw": interval(0.191 * scale, wide),
        "cer_raw": interval(0.062 * scale, wide / 2), "n_capped": n_capped,
    }  # fmt: skip


def plain_report(name: str = "svenska-liten", steps: int = 4000) -> dict[str, Any]:
    """What a report has at least, as one of viska 0.1 had it."""
    looks = [
        {"step": step, "dev_loss": 0.4 + 1.9 / (1 + step / 300), "dev_wer": 0.115 + 0.5 / (1 + step / 200)}
        for step in range(0, steps + 1, 200)
    ]
    for look in looks[1:]:
        look["loss"] = look["dev_loss"] - 0.05 - look["step"] / 12000
    return {
        "name": name, "language": "sv", "decoding": "greedy, no timestamps", "normaliser": "viska-sv-1", "level": 0.95,
        "n_clips": 1879, "n_speakers": 143, "n_words": 16911, "n_empty_references": 2,
        "before": rates(2.5, 14), "after": rates(1.0, 1),
        "gain": {key: interval(1.5 * each["value"]) for key, each in rates(1.0, 0).items() if key != "n_capped"},
        "worst": [
            {"id": "sv_0412", "reference": SAID, "before": "vi åker till skärgårn i morron om vädret",
             "after": "Vi åker till skärgård i morgon bitti om vädret",
             "n_edits": 2},
            {"id": "sv_1207", "reference": "Fem av sju ledamöter röstade emot.", "before": "fem av sju", "after": "", "n_edits": 6},
            {"id": "sv_0733", "reference": "", "before": "Undertexter av", "after": "tack", "n_edits": 1},
            {"id": "sv_0001", "reference": "Ja.", "before": "ja", "after": "ja", "n_edits": 0},
        ],
        "start": {"name": "openai/whisper-small", "commit": "973afd24965f72e36ca33b3055d56a652f456b4d", "digest": "9f31c2ab77e0"},
        "checkpoint": {
            "n_parameters": 241_734_912, "steps": steps, "n_epochs": 3.2, "seconds": 5121.4, "device": "cuda", "device_name": "NVIDIA L4",
            "precision": "bfloat16", "gpu_hours": 1.4226, "best_step": 3600, "dev_wer": 0.1408,
            "digest": "e1aa04d2c9", "key": "training-52b1",
            "spent": {"training": 4402.0, "looks": 501.1, "waiting for clips": 33.0, "checkpoints": 121.0},
        },
        "dataset": {
            "splits": {"train": 21402, "dev": 1920, "test": 1879}, "hours": {"train": 24.71, "dev": 2.2, "test": 2.14}, "n_rejected": 391,
            "rejected": {"too short": 41, "leaked speaker": 302, "no sound": 48}, "digest": "44ce09f1",
            "n_speakers": {"train": 511, "dev": 140},
            "leaks": [{"split": "train", "what": "speaker", "with": "test", "clips": 302, "removed": True}],
            "corpora": [
                {"name": "common voice 21", "language": "sv", "splits": {"train": 14000, "dev": 1200, "test": 1210}, "hours": 18.2,
                 "n_speakers": 530, "weight": 1.0, "licences": {"CC0-1.0": 16410}},
                {"name": "radio", "language": "sv", "splits": {"train": 7402, "dev": 720, "test": 669}, "hours": 10.85, "n_speakers": 0,
                 "weight": 2.0, "licences": {"CC-BY-4.0": 8000, "": 791}},
            ],
        },
        "test": {"name": "svenska-2025", "n_clips": 1880}, "history": looks,
        "recipe": {"language": "sv", "training": {"steps": steps, "learning_rate": 1e-5, "batch": 16}, "corpora": [{"name": "radio"}]},
    }  # fmt: skip


def full_report(name: str = "svenska-liten", steps: int = 4000) -> dict[str, Any]:
    """What a report can have."""
    segments = [
        {"start": 4.2 * n, "end": 4.2 * n + 3.9, "text": text} for n, text in enumerate([SAID, "Det blåser upp.", "Ta med en tröja."])
    ]
    recording = {"id": "interview_3", "seconds": 312.0, "reference": SAID + " Det blåser upp.", "before": "Vi åker i morgon",
                 "after": "Vi åker till skärgården i morgon bitti. Det blåser upp", "segments": segments}  # fmt: skip
    report = plain_report(name, steps)
    report["dataset"]["corrections"] = {"n_corrected": 37, "n_dropped": 4, "n_accepted": 112, "n_stale": 1}
    return report | {
        "engine": "faster-whisper 1.2, int8",
        "slices": SLICES, "worst_slices": [{"by": "words", "name": "with digits"}, {"by": "duration", "name": "under 2 s"}],
        "mistakes": {"before": mistakes(2), "after": mistakes(1)},
        "hallucinations": {"before": invented(6), "after": invented(1)},
        "calibration": {"before": calibration(0.21, 0.265), "after": calibration(0.04, 0.106)},
        "forgetting": [
            {"name": "fleurs", "language": "en", "n_clips": 400, "before": interval(0.071), "after": interval(0.143),
             "gain": interval(-0.072),
             "normaliser": "viska-en-1"},
            {"name": "fleurs", "language": "nn", "n_clips": 210, "before": interval(0.31), "after": interval(0.302),
             "gain": interval(0.008),
             "normaliser": "viska-plain-1"},
        ],
        "long_form": {"n_recordings": 1, "minutes": 5.2, "before": interval(0.31), "after": interval(0.14), "gain": interval(0.17),
                      "clips_before": 0.28, "clips_after": 0.125, "n_cuts": 12, "n_inside": 1,
                      "silence": {"seconds": 41.0, "before": 19, "after": 2, "sounds": [{"name": "hum", "before": "Tack.", "after": ""}]},
                      "recordings": [recording]},
        "versions": {"viska": "0.2.0", "python": "3.12.3", "torch": "2.10.0", "transformers": "5.17.0", "jiwer": "4.0.0"},
    }  # fmt: skip


def loads(page: str) -> list[str]:
    """Return every address that a browser would follow by itself when it shows the page."""
    attributes = re.findall(r"""\b(?:src|href|xlink:href|srcset|data|action|poster)\s*=\s*["']?([^"'\s>]+)""", page)
    return [*attributes, *re.findall(r"""url\(\s*["']?([^"')]+)""", page), *re.findall(r"@import\s+(\S+)", page)]


class Tags(HTMLParser):
    """Reads which tags are open where, ids, headings, and what is written."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attributes)))
        self.ids += [value for name, value in attributes if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attributes)))
        self.ids += [value for name, value in attributes if name == "id" and value]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"


PAGES = {
    "a full report": cache(lambda: render_report(full_report(), {"sv_0412": "data:audio/flac;base64,AAAA"})),
    "a report of an older viska": cache(lambda: render_report(plain_report(), {})),
    "a comparison": cache(lambda: render_comparison(*runs())),
}


def runs() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    reports = [full_report() | {"key": "a" * 24}, full_report("svenska-lång", 9000) | {"key": "b" * 24}, plain_report() | {"key": "c" * 24}]
    reports[2]["recipe"] = {"language": "sv", "training": {"steps": 4000, "learning_rate": 2e-5, "batch": 16}, "lora": {"rank": 32}}
    reports[2]["test"] = {"name": "svenska-2024", "n_clips": 900}
    reports[2]["after"] = rates(1.4, 0)
    for look in reports[2]["history"]:
        look["dev_wer"] *= 1.3
    reports[1]["after"] = rates(0.8, 0)
    gain = {"wer": interval(0.021), "cer": interval(0.01)}
    return reports, [
        {"key": "b" * 24, "same_test": True, "why": "", "gain": gain},
        {"key": "c" * 24, "same_test": False, "why": "scored on another test: svenska-2024"},
    ]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads_nothing_from_outside(name: str) -> None:
    page = PAGES[name]()
    outside = [each for each in loads(page) if not each.startswith(("#", "data:audio/"))]
    assert loads(page) and outside == [] and "<script" not in page and "<link" not in page and "<iframe" not in page


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_and_can_be_read_aloud(name: str) -> None:
    tags = Tags(page := PAGES[name]())
    assert tags.open == [] and page.startswith("<!doctype html>")
    assert len(tags.ids) == len(set(tags.ids)) and {each[1:] for each in loads(page) if each.startswith("#")} <= set(tags.ids)
    levels = [int(tag[1]) for tag, _ in tags.seen if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1 and all(b <= a + 1 for a, b in pairwise(levels))
    for tag, attributes in tags.seen:
        assert tag != "th" or attributes["scope"]
        assert tag != "audio" or attributes["aria-label"]
        assert tag != "svg" or (attributes["role"] == "img" and attributes["aria-label"])
    assert page.count("<svg") == page.count("<desc>")


def test_every_part_of_a_full_report_is_there_and_in_the_contents() -> None:
    page = PAGES["a full report"]()
    sections = re.findall(r'<section id="(\w+)"', page)
    assert sections == [
        "rates",
        "slices",
        "mistakes",
        "hallucinations",
        "calibration",
        "forgetting",
        "long",
        "worst",
        "training",
        "data",
        "origin",
    ]
    assert re.findall(r'<li><a href="#(\w+)"', page) == sections
    for words in ("26.5 %", "10.6 %", "Better by 15.9 points", "viska-sv-1",
                  "by faster-whisper 1.2, int8", "with digits<", "undertexter av",
                  "In 41 s of silence, noise and hum 19 words were heard before training and 2 after",
                  "1 of the cuts fell into speech", "says the same over and over", "text corrected",
                  "1.4226 GPU-hours", "jiwer 4.0.0",
                  "302 clips of train with the same speaker as in test: taken out.",
                  "no longer fits, not applied", "training 87.0 %"):  # fmt: skip
        assert words in page, words
    assert 'src="data:audio/flac;base64,AAAA"' in page and page.count("<audio") == 1


def test_what_was_not_measured_is_left_out() -> None:
    page = PAGES["a report of an older viska"]()
    kept = ["rates", "worst", "training", "data", "origin"]
    assert re.findall(r'<section id="(\w+)"', page) == re.findall(r'<li><a href="#(\w+)"', page) == kept
    empty = {"slices": [], "mistakes": {}, "hallucinations": {}, "calibration": None, "forgetting": [], "long_form": {}}
    assert re.findall(r'<section id="(\w+)"', render_report(full_report() | empty, {})) == kept


@pytest.mark.parametrize(
    "low, high, words", [(0.01, 0.2, "Better by"), (-0.2, -0.01, "Worse by"), (-0.01, 0.01, "No difference that these")]
)
def test_the_verdict_is_that_of_the_interval(low: float, high: float, words: str) -> None:
    report = plain_report()
    report["gain"]["wer"] = {"value": (low + high) / 2, "low": low, "high": high}
    page = render_report(report, {})
    assert words in page and sum(each in page for each in ("Better by", "Worse by", "No difference")) == 1


def without_intervals(value: Any) -> Any:
    if isinstance(value, list):
        return [without_intervals(each) for each in value]
    if not isinstance(value, dict):
        return value
    bare = {"low": None, "high": None} if value.keys() == {"value", "low", "high"} else {}
    return {key: without_intervals(each) for key, each in value.items()} | bare


def test_without_intervals_nothing_is_called_better_or_worse() -> None:
    report = without_intervals(full_report()) | {"worst_slices": [], "key": "a" * 24}
    report["long_form"]["unit"] = "recordings"
    page = render_report(report, {})
    assert "Too few clips to tell." in page and '14.0 %<span class="soft">no interval</span>' in page
    assert 'No interval: over 1 recording. Normaliser: <span class="whole">viska-sv-1</span>.' in page
    assert "No intervals: nearly all words are of one clip. " in page
    pair = {"key": report["key"], "same_test": True, "why": "", "gain": report["gain"]}
    compared = render_comparison([full_report() | {"key": "b"}, report], [pair])
    assert "too few clips to tell" in compared
    told = [summary(report), *comparison_lines([report, report], [pair]), str(slices_table(report))]
    assert "points; too few clips to tell" in told[0] and all("(no interval)" in each for each in told)
    for text in ("excludes zero", "includes zero", "Better by", "Worse by", 'class="tag"', ">better<", ">worse<", "no difference"):
        assert text not in page + compared + "".join(told), text


def test_a_page_says_what_its_intervals_are_over() -> None:
    long = full_report()["long_form"] | {"n_recordings": 3, "unit": "recordings"}
    page = render_report(plain_report() | {"unit": "clips", "n_speakers": 2, "long_form": long}, {})
    assert "paired bootstrap over clips; they are of these voices alone" in page and "they are rough" not in page
    assert "Intervals of 95 %: over 3 recordings, as if none of them had a voice in common." in page


def test_every_figure_of_a_run_has_its_normaliser() -> None:
    reports = [full_report() | {"key": "a"}, full_report() | {"key": "b", "normaliser": "viska-plain-1"}]
    first, second = comparison_lines(reports, [{"key": "b", "same_test": False, "why": "another"}])
    assert "(9.2 to 12.0), viska-sv-1" in first and "(9.2 to 12.0), viska-plain-1  another" in second
    assert "Normaliser viska-sv-1" in summary(reports[0])


def test_all_that_people_said_or_wrote_is_shown_as_text() -> None:
    evil = "<script>x</script> &amp; \"' <b>hej</b> $a_b^c$"

    def spoil(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: spoil(each, name) for name, each in value.items()}
        if isinstance(value, list):
            return [spoil(each, key) for each in value]
        return evil if isinstance(value, str) and key not in ("language", "language_token") else value

    for page in (render_report(spoil(full_report()), {}), render_comparison([spoil(each) for each in runs()[0]], [])):
        assert "<script" not in page and "<b>hej" not in page and "&lt;script&gt;" in page
        Tags(page)


def test_texts_have_their_language_and_any_direction() -> None:
    report = plain_report() | {"language": "ar"}
    report["worst"][0] |= {"reference": "سوف نذهب غدا", "after": "سوف نذهب اليوم"}
    page = render_report(report, {})
    assert '<bdi lang="ar" dir="auto">سوف نذهب <del>غدا</del> <ins>اليوم</ins></bdi>' in page


def test_errors_are_marked_and_markup_in_texts_is_shown_as_text() -> None:
    assert mark_errors("en röd båt", "en grön båt nu") == "en <del>röd</del> <ins>grön</ins> båt <ins>nu</ins>"
    assert "<script" not in mark_errors("hej", "<script>alert(1)</script>")
    assert mark_errors("", "hm") == "<ins>hm</ins>" and mark_errors("!", "") == "" and mark_errors("ja\tvisst", "") == "<del>ja visst</del>"


def test_what_is_marked_is_what_was_counted() -> None:
    assert mark_errors("tjugo båtar", "20 båtar", lambda text: text.replace("tjugo", "20")) == "20 båtar"
    page = render_report(plain_report(), {}, lambda text: "x")
    assert "<del>struck" in page and page.count("<del>") == 1, "only the legend"


def test_figures_that_are_missing_or_endless_are_a_dash() -> None:
    report = full_report()
    report["calibration"]["after"] |= {"auc": None, "error": float("nan")}
    report["checkpoint"]["dev_wer"] = float("inf")
    page = render_report(report, {})
    assert "– % WER" in page and "nan" not in page.lower() and ">inf" not in page


def test_runs_on_another_test_get_the_reason_and_no_gain() -> None:
    page = PAGES["a comparison"]()
    rows = re.findall(r"<tr><th scope=\"row\">.*?</tr>", page[page.index('id="rates"') :], re.DOTALL)
    assert "the first" in rows[0] and "better</b>" in rows[1] and "2.1" in rows[1]
    assert "scored on another test: svenska-2024" in rows[2] and "better" not in rows[2]
    assert "svenska-liten (1)" in page and "svenska-liten (2)" in page, "names that are the same are told apart"


def test_only_fields_that_differ_are_listed() -> None:
    page = PAGES["a comparison"]()
    fields = re.findall(r'<th scope="row"><code>([\w.]+)</code>', page)
    assert fields == ["training.steps", "training.learning_rate", "corpora", "lora.rank"]
    same = [full_report() | {"key": "a"}, full_report() | {"key": "b"}]
    assert "Nowhere: the recipes are the same." in render_comparison(
        same, [{"key": "b", "same_test": True, "why": "", "gain": same[0]["gain"]}]
    )
    assert "1 run compared" in render_comparison(same[:1], [])
