"""Pictures are small, drawn alike each time, have the colours of the page, and say in words what they show."""

import itertools
import math
import re
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tasks.scoring.pictures import calibration_pictures, curve_pictures, curves_of, dev_picture, picture, runs_picture, slices_picture
from tasks.scoring.svg import PALETTE, STANDIN

MOST = 60_000  # bytes of a picture
HISTORY = [{"step": step, "loss": 2.0 - step / 40, "dev_loss": 2.1 - step / 50, "dev_wer": 1 - step / 60} for step in range(0, 41, 10)]


def interval(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.02, "high": value + 0.03}


def slices(n: int) -> list[dict[str, Any]]:
    return [{"by": "corpus", "name": f"corpus {place}", "before": interval(0.4), "after": interval(0.2)} for place in range(n)]


def drawn_lines(svg: str, colour: str) -> list[str]:
    """Return the paths of lines in a colour, in order."""
    return re.findall(rf'<path d="([^"]+)" clip-path="[^"]+" style="fill: none; [^"]*stroke: {re.escape(colour)}', svg)


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours. WCAG 2.2, "relative luminance" and "contrast ratio"."""

    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
def test_every_colour_of_words_can_be_read_on_paper_and_on_a_card(theme: int) -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    colours = {name: pair[theme] for name, pair in PALETTE.items()}
    for name, ground in itertools.product(set(colours) - {"line", "paper", "card"}, ("paper", "card")):
        assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)


def test_a_look_without_a_loss_or_with_an_endless_one_has_no_point() -> None:
    history = [{"step": 0, "dev_loss": None, "dev_wer": math.inf}, {"step": 1, "loss": math.nan, "dev_loss": 2.0, "dev_wer": 3.0}]
    assert curves_of(history) == {"Loss": {"dev": [(1, 2.0)], "train": []}, "Dev WER, %": {"dev": [(0, 150), (1, 150)]}}
    assert curves_of([]) == {} and curve_pictures([]) == {} and dev_picture({"a": []}) is None


@pytest.mark.parametrize("values", [[0.0], [0.0, 0.0], [0.5], [1e-9, 1e-9], [1e6, 2e6]])
def test_one_point_zeros_and_the_very_small_and_large_can_be_drawn(values: list[float]) -> None:
    history = [{"step": 100 * place, "loss": value, "dev_loss": value, "dev_wer": value} for place, value in enumerate(values)]
    for svg in [*curve_pictures(history, 0).values(), picture(curves_of(history))]:
        ET.fromstring(svg)
        assert "nan" not in svg and "inf" not in svg.replace("information", "")


def test_a_line_goes_through_its_points() -> None:
    (line,) = drawn_lines(curve_pictures(HISTORY)["Dev WER, %"], "var(--second)")
    points = [(float(x), float(y)) for x, y in re.findall(r"[ML] ([\d.]+) ([\d.]+)", line)]
    assert len(points) == 5
    across, up = ([b - a for a, b in itertools.pairwise(each)] for each in zip(*points, strict=True))
    assert across == pytest.approx([across[0]] * 4, abs=0.05) and up == pytest.approx([up[0]] * 4, abs=0.05) and up[0] > 10


def test_a_long_training_keeps_its_last_point_and_stays_small() -> None:
    history = [{"step": step, "loss": 1.0 + step % 7, "dev_loss": 2.0 + step % 5, "dev_wer": 0.5} for step in range(20_000)]
    svg = picture(curves_of(history))
    assert len(svg) < MOST and "19,999" in svg
    assert max(len(each) for each in curve_pictures(history).values()) < MOST
    assert len(slices_picture({"corpus": slices(500)}, interval(0.4), interval(0.2))) < MOST


def test_the_same_history_draws_the_same_picture_on_any_thread() -> None:
    with ThreadPoolExecutor(2) as threads:
        pictures = list(threads.map(lambda number: picture(curves_of(HISTORY[number % 2 :])), range(4)))
    assert len(set(pictures)) == 2 and pictures[0] == pictures[2] != pictures[1] == pictures[3]


def test_pictures_of_a_page_take_its_colours_and_share_no_id() -> None:
    sides = {side: {"bins": [{"n_clips": 3, "confidence": 0.5, "right": 0.4}, {"n_clips": 0, "confidence": None, "right": None}],
                    "thresholds": [{"confidence": 0.5, "kept": 0.9, "wer": 0.1}]} for side in ("before", "after")}  # fmt: skip
    pictures = [*curve_pictures(HISTORY, 20).values(), *calibration_pictures(sides).values(),
                slices_picture({"corpus": slices(2)}, interval(0.4), interval(0.2)), runs_picture({"a": slices(1)[0]}),
                dev_picture({"a": HISTORY, "b": HISTORY}) or ""]  # fmt: skip
    ids = [id for svg in pictures for id in re.findall(r' id="([^"]+)"', svg)]
    assert len(pictures) == 7 and ids and len(ids) == len(set(ids))
    for svg in pictures:
        root = ET.fromstring(svg)
        assert root.get("role") == "img" and root.get("aria-label") == root.findtext("title") and len(root.findtext("desc") or "") > 20
        assert set(re.findall(r"[\"(]#([\w-]+)", svg)) <= set(re.findall(r' id="([^"]+)"', svg)), "refers to what is not there"
        assert "http" not in svg and "<style" not in svg
        assert re.findall(r"#[0-9a-f]{6}\b", svg) == [] and set(re.findall(r"var\(--(\w+)\)", svg)) <= set(PALETTE)


def test_a_picture_of_its_own_is_dark_on_white_and_whole() -> None:
    svg = picture(curves_of(HISTORY))
    assert svg.startswith('<svg xmlns="http://www.w3.org/2000/svg" width=') and "var(" not in svg
    assert not any(colour in svg for colour in STANDIN.values())
    assert len(drawn_lines(svg, PALETTE["second"][0])) == 2 and len(drawn_lines(svg, PALETTE["first"][0])) == 1
    assert f'fill="{PALETTE["paper"][0]}"' in svg and "Dev WER, %" in svg and "optimiser steps" in svg


def test_names_are_shown_as_they_are_in_any_script() -> None:
    names = ["$x_1^2$ <b>&", "دوبي", "北京", "हिन्दी", "a name that is much longer than there is room for in a picture of slices"]
    rows = [slices(1)[0] | {"name": name} for name in names]
    texts = [each.text or "" for each in ET.fromstring(slices_picture({"corpus": rows}, interval(0.4), interval(0.2))).iter("text")]
    assert set(names[:4]) <= set(texts) and any(text.startswith("a name that") and text.endswith("…") for text in texts)


def test_a_rate_without_an_interval_is_a_point_without_a_bar() -> None:
    alone = slices(1)[0] | {"after": {"value": 0.3, "low": None, "high": None}}
    pictures = [slices_picture({"corpus": [row]}, interval(0.4), interval(0.2)) for row in (slices(1)[0], alone)]
    points = [len(re.findall(r"<use [^>]*var\(--second\)", svg)) for svg in pictures]
    bars = [svg.count('stroke: var(--second); stroke-width: 2"') for svg in pictures]
    assert points[0] == points[1] > 0 and bars == [1, 0] and "nan" not in pictures[1]
    row = {"after": {"value": 9.0, "low": None, "high": None}, "before": interval(0.4)}
    assert "cut at 150" in runs_picture({"a": row})


def test_a_rate_beyond_the_axis_ends_at_its_edge() -> None:
    row = slices(1)[0] | {"before": {"value": 9.0, "low": 2.0, "high": 99.0}}
    svg = slices_picture({"corpus": [row]}, interval(9.0), interval(0.2))
    ticks = [float(each.text) for each in ET.fromstring(svg).iter("text") if re.fullmatch(r"\d+", each.text or "")]
    assert max(ticks) <= 160 and "cut at 150" in svg
    assert "cut at" not in slices_picture({"corpus": slices(1)}, interval(0.4), interval(0.2))
