"""How a trial is drawn in each picture of a search, and what it is called.

Colour is never the only sign: the best is thick, the recipe as it is dashed, what ended early or failed dotted, with an x where it ended.
"""

from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from tasks.scoring.pictures import WORST
from tasks.scoring.svg import STANDIN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MANY, PALE = 25, 0.4  # settings, and how opaque the lines of so many are
Tried = Mapping[str, Any]  # a place or a trial of a result
THIN: dict[str, Any] = {"color": STANDIN["soft"], "linewidth": 1, "linestyle": "-", "zorder": 2}
EARLY = THIN | {"linestyle": ":", "linewidth": 1.2}
AGAIN = {"linewidth": 1.3, "alpha": 0.8}
AS_IT_IS: dict[str, Any] = {"color": STANDIN["first"], "linewidth": 2.2, "linestyle": "--", "zorder": 3}
BEST: dict[str, Any] = {"color": STANDIN["second"], "linewidth": 3, "linestyle": "-", "zorder": 4}
DOTS: dict[str, dict[str, Any]] = {  # of a training, by kind
    "the best settings": {"marker": "o", "markersize": 8, "color": STANDIN["second"]},
    "the recipe as it is": {"marker": "s", "markersize": 7, "markerfacecolor": "none", "markeredgewidth": 1.8, "color": STANDIN["first"]},
    "others": {"marker": "o", "markersize": 4.5, "color": STANDIN["soft"]},
    "ended early": {"marker": "x", "markersize": 5.5, "color": STANDIN["soft"]},
}


def kind(result: Mapping[str, Any], tried: Tried) -> int:
    """Return what it is: 0 the best settings, 1 the recipe as it is, 2 another that came to its end, 3 one that did not."""
    if result["best"] is not None and first_of(tried) == result["best"]:
        return 0
    return 1 if not tried["values"] else 2 if tried["state"] == "complete" else 3


def first_of(tried: Tried) -> int:
    """Return the number of the first trial with these settings."""
    repeats = tried.get("repeats")
    return int(tried["number"] if repeats is None else repeats)


def stroke(result: Mapping[str, Any], tried: Tried) -> dict[str, Any]:
    """Return how its line is drawn: a training with another seed like the first and thinner, and many others paler than few."""
    which = kind(result, tried)
    if which < 2:
        return (BEST, AS_IT_IS)[which] | (AGAIN if tried.get("repeats") is not None else {})
    return (THIN if which == 2 else EARLY) | {"alpha": PALE if len(result["places"]) > MANY else 0.8}


def called(result: Mapping[str, Any], tried: Tried) -> str:
    """Return what a legend calls it."""
    title = next((each["title"] for each in result["places"] if each["number"] == first_of(tried)), "")
    best = shorten(f"best: #{first_of(tried)}, {title}", 60, placeholder=" …")
    return (best, "the recipe as it is", "others", "ended early or failed")[kind(result, tried)]


def in_order(result: Mapping[str, Any], some: Sequence[Tried]) -> list[Tried]:
    """Return them so that what matters most is drawn last, on top."""
    return sorted(some, key=lambda each: (-kind(result, each), each.get("repeats") is None))


def percent(wer: float) -> float:
    """Return a dev WER as pictures show it."""
    return min(100 * wer, WORST)


def legend(axes: "Axes", below: float) -> None:
    """Explain each kind of line once, the best first, below the axes by this share of their height."""
    handles, labels = axes.get_legend_handles_labels()
    once: dict[str, Any] = {}
    for label, handle in zip(labels[::-1], handles[::-1], strict=True):  # the last that was drawn stands for its kind
        once.setdefault(label, handle)
    axes.legend(once.values(), once.keys(), loc="upper left", bbox_to_anchor=(0, -below))
