"""The page of a search opens offline, shows every trial with its reason, and its pictures stand for the numbers, however odd these are."""

import json
import random
import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from tasks.search.importance import importances
from tasks.search.page import render_search
from tasks.search.pictures import looks_picture, parallel_picture, values_file, values_picture
from tasks.search.ranking import ranking, verdict
from tasks.search.scale import scales, short_fields, short_names
from tasks.search.study import Tried

RATE, BATCH, FROZEN, MODEL = "training.learning_rate", "training.batch", "training.freeze_encoder", "model"
MODELS = [{"kind": "pretrained", "name": "openai/whisper-tiny"}, {"kind": "scratch", "width": 64}]
MOST = 60_000  # bytes of a picture of an ordinary search


def tried(number: int, wer: float | None, values: dict[str, Any], **more: Any) -> Tried:
    state, ends = more.get("state", "complete"), {"complete": 400, "pruned": 200, "fail": 100}
    looks = {step: wer + 1 - step / 400 for step in range(100, ends[state] + 1, 100)} if wer is not None else {}
    error = {"complete": "", "pruned": "ended early at step 200", "fail": "TrainingError: loss is <b>not</b> finite"}[state]
    return Tried(number, values, more.get("seed", 0), more.get("repeats"), state, wer, looks, 60.0, "", error)


def ordinary() -> list[Tried]:
    point = {RATE: 1e-3, BATCH: 8, FROZEN: True, MODEL: MODELS[0]}
    return [
        tried(0, 0.3, {}),
        tried(1, 0.2, point),
        tried(2, 0.4, point | {RATE: 1e-5, MODEL: MODELS[1]}),
        tried(3, 0.9, point | {BATCH: 32, FROZEN: False}, state="pruned"),
        tried(4, None, point | {RATE: 1e-1}, state="fail"),
        *(tried(10 + seed, 0.3 + seed / 100, {}, seed=seed, repeats=0) for seed in (1, 2)),
        *(tried(20 + seed, 0.2 + seed / 100, point, seed=seed, repeats=1) for seed in (1, 2)),
    ]


def page(result: dict[str, Any]) -> str:
    return render_search(result, "svenska <liten>", verdict(result), "# viska retrain\nname: 'a & b'\n")


def lines(svg: str, colour: str, more: str = "") -> list[list[tuple[float, float]]]:
    """Return the points of each line in a colour, of those whose style has `more`; those of a legend have three, on one height."""
    found = re.findall(rf'<path d="([^"]+)"[^>]* style="fill: none; ([^"]*stroke: var\(--{colour}\)[^"]*)"', svg)
    every = [[(float(x), float(y)) for x, y in re.findall(r"[ML] ([\d.]+) ([\d.]+)", path)] for path, style in found if more in style]
    return [line for line in every if len(line) != 3 or len({y for _, y in line}) > 1]


def test_the_page_tells_the_verdict_every_trial_with_its_reason_and_the_recipe_and_loads_nothing() -> None:
    html = page(ranking(ordinary()))
    assert re.findall(r'(?:src|href)="(?!#)', html) == [] and "url(http" not in html and "@import" not in html
    assert "svenska &lt;liten&gt;" in html and "name: &#39;a &amp; b&#39;" in html and "viska retrain --recipe FILE" in html
    assert "loss is &lt;b&gt;not&lt;/b&gt; finite" in html and "<b>not" not in html
    rows = [" ".join(re.sub("<[^>]+>", " ", row).split()) for row in re.findall("<tr.*?</tr>", html)]
    assert rows[1].startswith("1 · #1 · best 21.5 % 21.0, 22.0 0.001 8 true pretrained finished 400 4 looks 3 min")
    assert rows[2].startswith("2 · #0 · as it is 31.5 % 31.0, 32.0 the recipe as it is finished")
    assert "ended early" in rows[4] and "failed: TrainingError" in rows[5] and len(rows) == 6
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids)) and {f"#{each}" for each in ids} >= set(re.findall(r'href="(#[^"]+)"', html))


def test_a_result_and_its_json_give_the_same_page() -> None:
    result = ranking(ordinary())
    assert page(json.loads(json.dumps(result))) == page(result)


def test_each_setting_is_a_line_through_its_values_to_its_dev_wer_and_a_failed_one_is_none() -> None:
    result = ranking(ordinary())
    svg = str(parallel_picture(result))
    (best,) = lines(svg, "second", "stroke-width: 3")
    assert len(best) == 5, "four fields and the dev WER"
    (other,) = [line for line in lines(svg, "soft") if len(line) == 5 and line[0] != line[-1] and line[0][0] < best[0][0]]
    assert other[1][0] == best[1][0] and other[4][0] > best[4][0], "the same batch, and a worse dev WER"
    assert len(lines(svg, "soft", "stroke-dasharray")) == 1, "the one that ended early"
    assert "best: #1" in svg and "dev WER 21.5 %" in svg


def test_the_recipe_as_it_is_has_a_line_where_its_values_are_told() -> None:
    result = ranking(ordinary())
    own = {RATE: 1e-4, BATCH: 16, FROZEN: False, MODEL: {"kind": "pretrained", "name": "openai/whisper-small"}}
    without, told = (str(parallel_picture(each)) for each in (result, result | {"as_it_is": own}))
    assert [len(line) for line in lines(without, "first")] == [1] and [len(line) for line in lines(told, "first")] == [5]
    assert "whisper-small" in told and scales(result | {"as_it_is": own})[MODEL].names == ("whisper-small", "whisper-tiny", "scratch")


def test_looks_end_where_the_trial_ended_and_at_150_percent() -> None:
    result = ranking([*ordinary(), tried(5, 2.5, {RATE: 1.0})])
    svg = str(looks_picture(result))
    (best, *_) = lines(svg, "second", "stroke-width: 3")
    (early, *_) = lines(svg, "soft", "stroke-dasharray")
    assert len(best) == 4 and len(early) == 2 and early[-1][0] == best[1][0]
    assert (
        ">140<" in svg and ">200<" not in svg.split("optimiser")[1] and looks_picture(ranking([tried(0, None, {}, state="fail")])) is None
    )


def test_values_show_each_training_and_say_where_the_mean_is_lowest() -> None:
    svg = values_file(ranking(ordinary()), RATE)
    assert "var(--" not in svg and 'width="490"' in svg and ET.fromstring(svg) is not None
    assert "5 trainings; the lowest dev WER is 21.0 % at 0.001, the highest 40.0 % at 1e-05" in svg
    with pytest.raises(ValueError, match=r"training\.steps: expected .* one of: training\.learning_rate, training\.batch"):
        values_file(ranking(ordinary()), "training.steps")


def test_the_field_that_decides_is_found_and_noise_is_called_chance() -> None:
    draw = random.Random(0)
    points = [{RATE: 10 ** draw.uniform(-5, -2), BATCH: draw.choice([4, 8, 16]), MODEL: draw.choice(MODELS)} for _ in range(24)]
    by_model = ranking([tried(n, (0.2 if each[MODEL] == MODELS[0] else 0.6) + draw.random() / 10, each) for n, each in enumerate(points)])
    first, *others = importances(by_model) or []
    assert first.field == MODEL and first.share > 0.6 and first.is_beyond_chance and len(others) == 2
    html = page(by_model)
    assert f"model: {100 * first.share:.0f} %, more than chance" in html and "may be chance" in html
    lucky = [importances(ranking([tried(n, draw.random(), each) for n, each in enumerate(points)])) or [] for _ in range(5)]
    assert all(len(luck) == 3 for luck in lucky) and sum(each.is_beyond_chance for luck in lucky for each in luck) <= 1


def test_too_few_settings_too_few_fields_or_equal_dev_wers_say_nothing_of_importance() -> None:
    points = [{RATE: 1e-3 * n, BATCH: n} for n in range(1, 7)]
    few, equal = (
        ranking([tried(n, wer + n * slope, points[n]) for n in range(count)]) for count, wer, slope in ((3, 0.2, 0.1), (6, 0.2, 0))
    )
    one_field = ranking([tried(n, 0.2 + n / 10, {RATE: 1e-3 * n}) for n in range(6)])
    ended = ranking([tried(n, 0.2 + n / 10, points[n], state="complete" if n < 3 else "pruned") for n in range(6)])
    assert [importances(each) for each in (few, equal, one_field, ended)] == [None] * 4
    assert "Too few settings" in page(few) and "What each field decides" not in page(few)


MIXED: list[Any] = [None, 1, True, [1, 2], "a" * 200, {"a": {}}]
ODD: dict[str, list[Tried]] = {
    "one trial": [tried(0, 0.3, {})],
    "one trial with values": [tried(1, 0.3, {RATE: 1e-3})],
    "all ended early but one": [tried(0, 0.3, {}), *(tried(n, 0.9, {RATE: n / 1000, BATCH: 2}, state="pruned") for n in (1, 2, 3))],
    "all failed but one": [tried(0, 0.3, {}), *(tried(n, None, {RATE: n / 1000}, state="fail") for n in (1, 2, 3))],
    "all failed": [tried(n, None, {RATE: n / 1000}, state="fail") for n in (1, 2)],
    "no numbers": [tried(n, 0.3 + n / 10, {MODEL: MODELS[n % 2], FROZEN: n > 2}) for n in range(5)],
    "values missing": [tried(n, 0.3 + n / 10, {RATE: 0.1 * n} if n % 2 else {BATCH: n}) for n in range(6)],
    "numbers, none and lists": [tried(n, 0.2 * n, {RATE: each}) for n, each in enumerate(MIXED)],
    "a wide range with zero": [tried(n, 0.3, {RATE: each}) for n, each in enumerate([0, 1e-9, 5, 1e6])],
    "the same dev WER of zero": [tried(n, 0.0, {RATE: each}) for n, each in enumerate([1e-9, 5, 1e6])],
    "a repeat that failed": [*ordinary(), tried(30, None, {RATE: 1e-3}, seed=3, repeats=1, state="fail")],
}  # fmt: skip


@pytest.mark.parametrize("which", ODD)
def test_odd_results_have_a_page(which: str) -> None:
    html = page(ranking(ODD[which]))
    for svg in re.findall("<svg.*?</svg>", html):
        ET.fromstring(svg)
        assert not re.search(r"\b(nan|inf)\b", svg)
    assert html.count("<tr") == len([each for each in ODD[which] if each.repeats is None]) + 1


def test_a_large_search_can_be_drawn_with_eight_axes() -> None:
    draw = random.Random(1)
    fields = [f"training.a_setting_with_a_very_long_name_{place}" for place in range(8)]
    points = [
        {field: draw.choice("abcdefghij") * 40 if place % 2 else draw.random() for place, field in enumerate(fields)} for _ in range(60)
    ]
    result = ranking([tried(n, draw.random(), each, state=draw.choice(["complete", "pruned"])) for n, each in enumerate(points)])
    assert len(str(parallel_picture(result))) < 3 * MOST and len(str(looks_picture(result))) < MOST
    assert max(len(str(values_picture(result, field))) for field in fields) < MOST


def test_names_are_short_and_different() -> None:
    bases = [{"kind": "pretrained", "name": f"openai/whisper-{size}"} for size in ("tiny", "base")]
    assert short_names([*bases, MODELS[1], "plain", None, False]) == ["whisper-tiny", "whisper-base", "scratch", "plain", "null", "false"]
    assert short_names([{"kind": "scratch", "width": 64}, {"kind": "scratch", "width": 128}]) == ["width 64", "width 128"]
    assert short_names(["a/x", "b/x"]) == ["a/x", "b/x"] and len(set(short_names(["a" * 99, "a" * 98]))) == 2
    assert short_fields(["a.b.p", "a.c.p", "q"]) == {"a.b.p": "b.p", "a.c.p": "c.p", "q": "q"}


def test_a_wide_positive_range_is_logarithmic_and_its_numbers_do_not_touch() -> None:
    wide, narrow = (scales(ranking([tried(n, 0.2, {RATE: each}) for n, each in enumerate(values)]))[RATE] for values in (
        [1e-5, 1e-3, 1e-1], [28, 30, 100]))  # fmt: skip
    assert (wide.kind, narrow.kind) == ("log", "linear") and wide.at(1e-3) == pytest.approx(0.5)
    assert [text for _, text in wide.ticks()] == ["1e-05", "0.001", "0.1"] and [text for _, text in narrow.ticks(40)] == ["28", "100"]
