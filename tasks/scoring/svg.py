"""Figures of matplotlib as SVG: in a page they take the page's colours, in a file of their own they are dark on white.

Figures are drawn in stand-in colours, which are replaced when the SVG is written: `pyplot` and themes of the library are global state.
Nothing here may load what a page would fetch: text stays text, and fonts are those of the reader.
"""

import re
import threading
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PALETTE = {  # on white, on a dark page; each can be read as text on paper and on card, which a test holds
    "ink": ("#18202c", "#e9edf3"),
    "soft": ("#5a6575", "#a3aebd"),
    "line": ("#dfe4eb", "#303a48"),
    "paper": ("#ffffff", "#10151c"),
    "card": ("#f5f7fa", "#19202a"),
    "first": ("#94520b", "#e9a765"),  # before; the loss in training
    "second": ("#0a668c", "#67bfe6"),  # after; the dev split
    "third": ("#7a3fa0", "#c99be8"),
    "fourth": ("#35702e", "#8ccb82"),
    "good": ("#17704a", "#62cb9b"),
    "bad": ("#b3261e", "#f4928a"),
}
STANDIN = {name: f"#0101{number:02x}" for number, name in enumerate(PALETTE, 1)}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
SVG, XLINK = "http://www.w3.org/2000/svg", "{http://www.w3.org/1999/xlink}"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "viska", "text.parse_math": False,  # a dollar in a name is a dollar
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 11, "axes.titlesize": 11, "legend.fontsize": 11,
    "figure.dpi": 72, "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
    "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False, "axes.edgecolor": STANDIN["line"],
    "axes.labelcolor": STANDIN["soft"], "text.color": STANDIN["ink"], "xtick.labelcolor": STANDIN["soft"],
    "ytick.labelcolor": STANDIN["soft"], "xtick.color": STANDIN["line"], "ytick.left": False, "axes.grid": True, "axes.grid.axis": "y",
    "grid.color": STANDIN["line"], "grid.linewidth": 1, "axes.axisbelow": True, "axes.titlelocation": "left", "axes.titleweight": "bold",
    "legend.frameon": False, "legend.borderaxespad": 0, "legend.handlelength": 1.8, "lines.linewidth": 2,
}  # fmt: skip
_drawing = threading.Lock()  # the library's settings are those of the whole process


@contextmanager
def drawing(width: float, height: float, margin: float = 3) -> Iterator["Figure"]:
    """Yield a figure of so many CSS pixels, with a margin in it, to draw on and to write, while nobody else draws."""
    import matplotlib  # here: it takes a second, and most that import this draw nothing
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with _drawing, matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # only widths are taken from it; the reader has the letters
        matplotlib.rcdefaults()  # what a matplotlibrc says is not for our pages
        matplotlib.rcParams.update(STYLE)
        yield Figure(figsize=(width / 72, height / 72), layout=ConstrainedLayoutEngine(w_pad=margin / 72, h_pad=margin / 72))


def for_page(figure: "Figure", name: str, title: str, told: str) -> Markup:
    """Return a figure for an HTML page, with the colours as CSS variables of the page.

    Args:
        figure: drawn, within its `drawing`.
        name: unique in the page; ids begin with it.
        title: what it shows, for those who do not see it.
        told: what there is to see, likewise.
    """
    root = _tree(figure, {name: f"var(--{name})" for name in PALETTE}, name)
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": title, **_inherited()}
    return Markup(_written(root, title, told))


def for_itself(figure: "Figure", title: str, told: str) -> str:
    """Return a figure as an SVG file that knows nothing of the page around it: dark on white, on a dark page too."""
    root = _tree(figure, {name: light for name, (light, _) in PALETTE.items()}, "v")
    box = root.attrib["viewBox"]
    _, _, width, height = box.split()
    size = {"width": width, "height": height, "viewBox": box}
    root.attrib = {"xmlns": SVG, **size, "role": "img", "aria-label": title, **_inherited()}
    root.insert(0, ET.Element("rect", {"width": width, "height": height, "rx": "8", "fill": PALETTE["paper"][0]}))
    return _written(root, title, told)


def _tree(figure: "Figure", colours: dict[str, str], prefix: str) -> ET.Element:
    """Return a figure as elements without namespaces: in `colours`, ids only where something refers to them, and those with a prefix."""
    text = StringIO()
    figure.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    root = ET.fromstring(text.getvalue())
    used = {each.get(f"{XLINK}href", "#")[1:] for each in root.iter()} | set(re.findall(r"url\(#(\w+)\)", text.getvalue()))
    for parent in list(root.iter()):
        for style in parent.findall(f"{{{SVG}}}style"):  # it would style the whole page
            parent.remove(style)
        parent.tag = parent.tag.removeprefix(f"{{{SVG}}}")
        parent.attrib = {key.removeprefix(XLINK): _value(key, value, colours, prefix) for key, value in parent.attrib.items()
                         if key != "id" or value in used}  # fmt: skip
        parent.text, parent.tail = parent.text if parent.tag == "text" else None, None
    return root


def _value(key: str, value: str, colours: dict[str, str], prefix: str) -> str:
    if key == "id":
        return f"{prefix}-{value}"
    if key == f"{XLINK}href":
        return f"#{prefix}-{value[1:]}"
    if key in ("d", "x", "y", "transform"):  # a hundredth of a pixel is enough
        return " ".join(re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", value).split())
    for name, colour in colours.items():
        value = value.replace(STANDIN[name], colour)
    return re.sub(r"font-family: [^;]*;? ?", "", value).replace("url(#", f"url(#{prefix}-")


def _inherited() -> dict[str, str]:
    return {"font-family": FONT, "stroke-linejoin": "round", "stroke-linecap": "butt"}


def _written(root: ET.Element, title: str, told: str) -> str:
    for place, (tag, text) in enumerate((("title", title), ("desc", told))):
        root.insert(place, ET.Element(tag))
        root[place].text = text
    return ET.tostring(root, encoding="unicode")
