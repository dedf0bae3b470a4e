"""What the page's buttons do. Everything that comes from a visitor is checked here; refusals are words in the page's language."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from tasks.contracts.errors import AudioError
from tasks.contracts.languages import name as name_of
from tasks.hub.space import show
from tasks.hub.space.listen import Correction, Result, correct, listen
from tasks.hub.space.texts import preferred, texts
from tasks.model.whisper import Whisper
from tasks.model.words import UNSPACED

log = logging.getLogger(__name__)
MAX_LETTERS = 2_000  # of a correction
OFTEN, OFTEN_EACH = 0.2, 0.01  # seconds between two pictures of what was heard so far, at least, and for each piece in them
Keep = Callable[[Correction], str]  # stores a correction, and returns the number by which its visitor can have it deleted


@dataclass(frozen=True)
class Visit:
    """A page's model, and what may be done with it."""

    whisper: Whisper
    name: str
    base: Whisper | None  # it is compared with, if the visitor likes
    base_name: str
    keep: Keep | None  # None: nobody is asked for corrections
    max_seconds: float  # of a recording
    put_away: Callable[[bytes], Path]  # stores a FLAC where the page can play it

    @property
    def code(self) -> str:
        """The language that is spoken."""
        return self.whisper.borrower or self.whisper.language

    def hear(self, recording: str | None, file: bytes | None, comparing: bool, page: str) -> Iterator[list[Any]]:
        """Yield the page's outputs while a recording is heard, and the pieces as a program wants them."""
        t, result = texts(page), Result()
        try:
            if not recording and not file:
                raise _Refused("no_recording")
            data = file or Path(str(recording)).read_bytes()
            shown = 0.0
            for result in listen(data, self.whisper, self.base if comparing else None, self.max_seconds, self.put_away):
                if time.monotonic() - shown > max(OFTEN, OFTEN_EACH * len(result.pieces)):
                    shown = time.monotonic()
                    yield [*self.outputs(t, result, True), []]
            yield [*self.outputs(t, result, False), show.rows(result)]
        except Exception as error:
            failure = self._failure(t, error)
            yield [show.failure(*failure), "", "", "", None, {"error": " ".join(failure).strip()}]

    def outputs(self, t: dict[str, str], result: Result | None, running: bool) -> list[Any]:
        """Return status, player, transcript and downloads as HTML, and the result itself."""
        spaced, asks = self.code not in UNSPACED, self.keep is not None and not running
        return [
            show.status(t, result, running),
            show.player(t, result),
            show.transcript(t, result, (self.name, self.base_name), self.code, asks, spaced),
            show.downloads(t, None if running else result, spaced),
            result,
        ]

    def halted(self, result: Result | None, page: str) -> list[Any]:
        """Return the outputs of a run that was interrupted."""
        return self.outputs(texts(page), result, False)

    def ask(self, result: Result | None, page: str, event: gr.EventData) -> list[Any]:
        """Return the form for the piece whose button was pressed: the form, its head, number and text; no consent; no answer yet."""
        place = getattr(event, "place", None)
        if result is None or not isinstance(place, int) or not 0 <= place < len(result.pieces):
            raise gr.Error(texts(page)["gone"], print_exception=False)
        head = show.correcting(texts(page), result, place)
        return [gr.update(visible=True), head, place, result.pieces[place].text, False, ""]

    def send(self, place: float | None, text: str, consent: bool, result: Result | None, page: str) -> list[Any]:
        """Keep a correction; return what is answered, the transcript, the downloads and the result with it."""
        t = texts(page)
        try:
            correction, corrected = self._checked(place, text, consent, result)
            assert self.keep
            receipt = self.keep(correction)
        except Exception as error:
            return [show.failure(*self._failure(t, error)), *self.outputs(t, result, False)[2:]]
        return [show.said(t["thanks"].format(receipt=receipt)), *self.outputs(t, corrected, False)[2:]]

    def _checked(self, place: float | None, text: str, consent: bool, result: Result | None) -> tuple[Correction, Result]:
        """Return what may be kept and the result with it; _Refused if nothing may."""
        text = " ".join(str(text).split())
        if self.keep is None or result is None or place is None or not 0 <= place < len(result.pieces):
            raise _Refused("gone")
        if consent is not True:
            raise _Refused("no_consent")
        if not any(map(str.isalnum, text)):
            raise _Refused("no_words")
        if len(text) > MAX_LETTERS:
            raise _Refused("too_much")
        if text == " ".join(result.pieces[int(place)].text.split()):
            raise _Refused("no_change")
        try:
            return correct(result, int(place), text)
        except FileNotFoundError as error:
            raise _Refused("gone") from error

    def heading(self, page: str) -> str:
        """Return the page's title."""
        return show.heading(texts(page), self.name, name_of(self.code), self.code, page)

    def arrive(self, request: gr.Request) -> str:
        """Return the language of the page for a visitor: as the address says (?lang=sv), or as the browser asks."""
        return preferred(str(request.query_params.get("lang", "")) or request.headers.get("accept-language", ""))

    def _failure(self, t: dict[str, str], error: Exception) -> tuple[str, str]:
        """Return an error as a visitor can understand it, and its details; what nobody foresaw is logged, and told without any."""
        minutes = round(self.max_seconds / 60)
        if isinstance(error, _Refused):
            return t[str(error)], ""
        if not isinstance(error, AudioError):
            log.error("a visit failed", exc_info=error)
            return t["accident"], ""
        if str(error).startswith("silent"):
            return t["silent"], ""
        if str(error).startswith("longer than"):
            return t["too_long"].format(minutes=minutes), ""
        return t["broken"], str(error)


class _Refused(Exception):
    """A visitor asked for what is not done; the key of the text that says why."""
