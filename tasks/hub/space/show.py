"""What the page shows of a result, as HTML. Whatever comes from a model or a visitor is escaped."""

import base64
from collections.abc import Mapping
from dataclasses import asdict
from difflib import SequenceMatcher
from pathlib import PurePath
from urllib.parse import quote

from markupsafe import Markup

from tasks.hub.space.listen import Result
from tasks.hub.space.subtitles import cues, to_srt, to_txt, to_vtt
from tasks.model.words import Piece, Word

SURE, DOUBTFUL = 0.9, 0.7  # probabilities: below the one a word is unsure, below the other very
Texts = Mapping[str, str]


def clock(seconds: float) -> str:
    """Return a time as people write it: 0:07, 12:30, 1:02:03."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}" if whole >= 3600 else f"{whole // 60}:{whole % 60:02}"


def heading(t: Texts, name: str, language: str, code: str, page: str) -> Markup:
    """Return the page's title; the browser itself puts the language's name into that of the page (see look.HEADING)."""
    spoken = Markup('<span data-language="{}">{}</span>').format(code, language)
    intro = Markup(t["intro"]).format(language=spoken, name=Markup("<strong>{}</strong>").format(name))
    return Markup('<header data-page="{}"><h1>{}</h1><p>{}</p></header>').format(page, name, intro)


def status(t: Texts, result: Result | None, running: bool) -> Markup:
    """Return how far it is, for eyes and for screen readers."""
    if result is None:
        return Markup('<p class="status empty">{}</p>').format(t["empty"])
    done, length = clock(result.done), clock(result.seconds)
    if running:
        words = t["progress"].format(done=done, all=length) if result.seconds else t["reading"]
        value = Markup(' value="{:.3f}"').format(result.done / result.seconds) if result.seconds else ""
        return Markup('<p class="status" role="status">{}</p><progress aria-label="{}"{}></progress>').format(words, words, value)
    if result.done < result.seconds or not result.seconds:
        words = t["stopped"].format(done=done, all=length)
    elif not result.pieces:
        words = t["nobody"]
    else:
        n_unsure = sum(word.probability < SURE for word in result.words)
        words = t["done"].format(words=len(result.words), all=length, unsure=n_unsure)
    return Markup('<p class="status" role="status">{}</p>').format(words)


def failure(words: str, details: str = "") -> Markup:
    """Return what went wrong, for eyes and for screen readers."""
    small = Markup("<br><small>{}</small>").format(details) if details else ""
    return Markup('<p class="status error" role="alert">{}{}</p>').format(words, small)


def said(words: str) -> Markup:
    """Return an answer, for eyes and for screen readers."""
    return Markup('<p class="status" role="status">{}</p>').format(words)


def player(t: Texts, result: Result | None) -> Markup:
    """Return a player of the recording as the model hears it; any format plays, also the sound of a video."""
    if result is None or result.flac is None:
        return Markup("")
    where = "gradio_api/file=" + quote(PurePath(result.flac).as_posix())
    return Markup('<audio controls preload="metadata" src="{}" aria-label="{}"></audio>').format(where, t["player"])


def transcript(t: Texts, result: Result | None, names: tuple[str, str], code: str, asks: bool, spaced: bool) -> Markup:
    """Return the pieces with their times, unsure words underlined, and beside them what the base model hears.

    Args:
        t: the texts of the page.
        result: what was heard.
        names: of the model and its base.
        code: of the language that is spoken.
        asks: whether there is a button for what is wrong.
        spaced: whether that language writes spaces between words.
    """
    if result is None or not result.pieces:
        return Markup("")
    rows = Markup("").join(_row(t, result, place, names[1], asks, spaced) for place in range(len(result.pieces)))
    heads = Markup("")
    if result.base is not None:
        heads = Markup('<div class="heads" aria-hidden="true"><span>{}</span><span>{} <small>({})</small></span></div>').format(
            *names, t["differs"])  # fmt: skip
    legend = Markup('<p class="legend">{}</p>').format(Markup(t["legend"]))
    return Markup('{}<ol class="pieces{}" aria-label="{}" lang="{}">{}</ol>{}').format(
        heads, " two" if result.base is not None else "", t["pieces"], code, rows, legend)  # fmt: skip


def _row(t: Texts, result: Result, place: int, base_name: str, asks: bool, spaced: bool) -> Markup:
    piece, time = result.pieces[place], clock(result.pieces[place].start)
    space = Markup(" " if spaced else "")
    ours = space.join(_word(t, word) for word in piece.words)
    if place in result.corrected:
        ours += Markup(' <small class="tag">{}</small>').format(t["corrected"])
    base = Markup("")
    if result.base is not None and place < len(result.base):
        base = Markup('<p class="base" dir="auto" aria-label="{}">{}</p>').format(base_name, _differing(piece, result.base[place]))
    wrong = Markup("")
    if asks:
        wrong = Markup('<button type="button" class="wrong" data-wrong="{}" aria-label="{}">{}</button>').format(
            place, t["wrong_at"].format(time=time), t["wrong"])  # fmt: skip
    return Markup('<li><button type="button" class="time" data-start="{:.2f}" data-end="{:.2f}" aria-label="{}">{}</button>'
                  '<p class="ours" dir="auto">{}</p>{}{}</li>').format(
        piece.start, piece.end, t["play"].format(time=time), time, ours, base, wrong)  # fmt: skip


def _word(t: Texts, word: Word) -> Markup:
    if word.probability >= SURE:
        return Markup("{}").format(word.text)
    kind = "unsure" if word.probability >= DOUBTFUL else "doubtful"
    return Markup('<span class="{}" title="{}">{}</span>').format(kind, t["sure"].format(percent=round(100 * word.probability)), word.text)


def _differing(piece: Piece, text: str) -> Markup:
    """Return what the base model hears, with the words marked that are others than the model's; case and punctuation are no difference."""
    theirs = text.split()
    ours, bare = ([_bare(word) for word in words] for words in (piece.text.split(), theirs))
    parts = []
    for kind, _, _, start, end in SequenceMatcher(None, ours, bare, autojunk=False).get_opcodes():
        if start < end:
            parts.append(Markup("{}" if kind == "equal" else "<mark>{}</mark>").format(" ".join(theirs[start:end])))
    return Markup(" ").join(parts) or Markup("–")


def _bare(word: str) -> str:
    return "".join(filter(str.isalnum, word)).casefold()


def downloads(t: Texts, result: Result | None, spaced: bool) -> Markup:
    """Return links that hold the files themselves: nothing is stored for them."""
    if result is None or not result.pieces:
        return Markup("")
    found = cues(result.pieces, spaced)
    files = [("txt", "text/plain", t["text_file"], to_txt(result.pieces)), ("srt", "application/x-subrip", t["subtitles"], to_srt(found)),
             ("vtt", "text/vtt", t["subtitles"], to_vtt(found))]  # fmt: skip
    links = [Markup('<a class="file" download="transcript.{}" href="data:{};charset=utf-8;base64,{}">{} <small>.{}</small></a>').format(
        suffix, kind, base64.b64encode(text.encode()).decode(), label, suffix) for suffix, kind, label, text in files]  # fmt: skip
    copy = Markup('<button type="button" class="file" data-copy="{}">{}</button>').format(t["copied"], t["copy"])
    return Markup('<nav class="files" aria-label="{}">{}{}</nav>').format(t["downloads"], Markup("").join(links), copy)


def rows(result: Result) -> list[dict[str, object]]:
    """Return the pieces as a program wants them; this is what the page's API gives."""
    base = result.base or ()
    return [asdict(piece) | ({"base": base[place]} if place < len(base) else {}) for place, piece in enumerate(result.pieces)]


def correcting(t: Texts, result: Result, place: int) -> Markup:
    """Return the head of the form for one piece, with a button that plays it."""
    piece = result.pieces[place]
    return Markup('<h2>{}</h2><p><button type="button" class="time" data-start="{:.2f}" data-end="{:.2f}">▶ {}</button> {}</p>').format(
        t["correct_title"].format(time=clock(piece.start)), piece.start, piece.end, t["play"].format(time=clock(piece.start)),
        t["correct_help"])  # fmt: skip


def footing(t: Texts, minutes: int, keeps: bool) -> Markup:
    """Return what happens to recordings."""
    return Markup("<footer><p>{}{}</p></footer>").format(t["privacy"].format(minutes=minutes), f" {t['privacy_kept']}" if keeps else "")
