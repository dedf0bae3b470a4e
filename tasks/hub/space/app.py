"""Speak or upload a recording, read what the model hears. Run by `viska demo MODEL`, or as a Space with VISKA_MODEL set.

Visitors are strangers: uploads are limited in bytes and seconds and decoded in a process of their own, the queue is short, what was
uploaded is deleted within two hours, no path comes from them, and what they type or a model says is escaped. See docs/demo.md.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache

from tasks.hub.space import look, show
from tasks.hub.space.texts import LANGUAGES, texts
from tasks.hub.space.visit import MAX_LETTERS, Keep, Visit
from tasks.model.transcribe import open_model
from tasks.model.whisper import Whisper

MEGABYTES = 100  # of an upload
MAX_SECONDS = 3600.0  # of a recording
MAX_WAITING = 16  # visitors in the queue
MAX_SESSIONS = 200  # whose results are remembered
HOUR = 3600  # seconds
T = texts("en")  # what the page says until the browser has told its language


def build(
    whisper: Whisper,
    name: str,
    base: Whisper | None = None,
    base_name: str = "",
    keep: Keep | None = None,
    max_seconds: float = MAX_SECONDS,
) -> gr.Blocks:
    """Return the page for one model.

    Args:
        whisper: the model.
        name: its name.
        base: the one it is compared with if the visitor likes; None: there is no such switch.
        base_name: its name.
        keep: what is done with corrections; None: nobody is asked for any.
        max_seconds: refuse longer recordings.
    """

    def put_away(flac: bytes) -> Path:
        where = player.move_resource_to_block_cache(save_bytes_to_cache(flac, "recording.flac", player.GRADIO_CACHE))
        return Path(str(where))  # Gradio deletes it with what was uploaded

    visit = Visit(whisper, name, base, base_name, keep, max_seconds, put_away)
    with gr.Blocks(title=name, delete_cache=(HOUR, HOUR), analytics_enabled=False) as page:
        with gr.Row(elem_classes="top", equal_height=False):
            heading = gr.HTML(visit.heading("en"), js_on_load=look.HEADING)
            switch = gr.Radio([(word, code) for code, word in LANGUAGES.items()], value="en", label=T["page_language"],
                              elem_classes="switch", container=False, show_label=False)  # fmt: skip
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                inputs, named = _inputs(visit)
                start = gr.Button(T["transcribe"], variant="primary", size="lg", elem_id="transcribe")
                stop = gr.Button(T["stop"], visible=False, elem_id="stop")
            with gr.Column(scale=3, min_width=300, elem_classes="results"):
                status = gr.HTML(show.status(T, None, False), elem_id="status")
                player = gr.HTML(elem_id="player")
                form = _form() if keep else None
                transcript = gr.HTML(elem_id="transcript", js_on_load=look.ASKING)
                downloads = gr.HTML(elem_id="downloads")
                result, rows = gr.State(None, time_to_live=HOUR), gr.JSON(visible=False)
                shown = [status, player, transcript, downloads, result]
        footing = gr.HTML(elem_id="footing")
        if form:
            named |= _connect(form, visit, transcript, downloads, result, switch)
            start.click(lambda: gr.update(visible=False), None, form.whole, queue=False, api_name=False)
        named |= {"transcribe": start, "stop": stop, "page_language": switch}

        def speak(code: str, result: Any) -> list[Any]:
            t = texts(code)
            told = [gr.update(**{_property(each): _text(visit, t, key)}) for key, each in named.items()]
            return [code, visit.heading(code), show.footing(t, round(max_seconds / 60), keep is not None), *told,
                    *visit.outputs(t, result, False)[:4]]  # fmt: skip

        def arrive(request: gr.Request) -> list[Any]:
            return speak(visit.arrive(request), None)

        spoken = [switch, heading, footing, *named.values(), *shown[:4]]
        page.load(arrive, None, spoken, queue=False, api_name=False)
        switch.input(speak, [switch, result], spoken, queue=False, api_name=False, show_progress="hidden")
        begun = start.click(
            lambda: [gr.update(interactive=False), gr.update(visible=True)], None, [start, stop], queue=False, api_name=False
        )
        heard = begun.then(visit.hear, [*inputs, switch], [*shown, rows], api_name="transcribe", show_progress_on=[status])
        ended: dict[str, Any] = {"inputs": None, "outputs": [start, stop], "queue": False, "api_name": False}
        for end in (heard.then, heard.failure):
            end(lambda: [gr.update(interactive=True), gr.update(visible=False)], **ended)
        halted = stop.click(None, None, None, cancels=[heard], queue=False, api_name=False)
        halted.then(visit.halted, [result, switch], shown, queue=False, api_name=False)
        halted.then(lambda: [gr.update(interactive=True), gr.update(visible=False)], **ended)
    page.queue(max_size=MAX_WAITING, default_concurrency_limit=1)
    return page


def _inputs(visit: Visit) -> tuple[list[Any], dict[str, Any]]:
    """Lay out microphone, file and comparison; return them, and all that has a text, by its name. The newer of the two sounds counts."""
    with gr.Tabs():
        with gr.Tab(T["microphone"]) as microphone:
            record = gr.Audio(sources=["microphone"], type="filepath", label=T["record"], elem_id="record")
        with gr.Tab(T["file"]) as file:
            choose = gr.File(type="binary", label=_text(visit, T, "choose"), height=160, elem_id="choose")
    compare = gr.Checkbox(label=_text(visit, T, "compare"), visible=visit.base is not None, elem_id="compare")
    record.stop_recording(None, None, choose, js="() => null", api_name=False)
    choose.upload(None, None, record, js="() => null", api_name=False)
    return [record, choose, compare], {"microphone": microphone, "file": file, "record": record, "choose": choose, "compare": compare}


class _Form(NamedTuple):
    """The form for what is wrong."""

    whole: gr.Column
    head: gr.HTML
    place: gr.Number  # of the piece
    text: gr.Textbox
    consent: gr.Checkbox
    send: gr.Button
    close: gr.Button
    answer: gr.HTML


def _form() -> _Form:
    """Lay out the form, hidden until a piece's button is pressed."""
    with gr.Column(visible=False, elem_id="correction") as whole:
        head = gr.HTML()
        place = gr.Number(visible=False)
        text = gr.Textbox(label=T["correct_text"], lines=2, max_length=MAX_LETTERS, elem_id="text")
        consent = gr.Checkbox(label=T["consent"], elem_id="consent")
        with gr.Row():
            send = gr.Button(T["send"], variant="primary", elem_id="send")
            close = gr.Button(T["close"], elem_id="close")
        answer = gr.HTML(elem_id="answer")
    return _Form(whole, head, place, text, consent, send, close, answer)


def _connect(form: _Form, visit: Visit, transcript: gr.HTML, downloads: gr.HTML, result: gr.State, switch: gr.Radio) -> dict[str, Any]:
    """Let the form open, be sent and be closed; return what has a text, by its name."""
    asked = transcript.click(visit.ask, [result, switch], [*form[:5], form.answer], queue=False, api_name=False)
    asked.success(None, None, None, js=look.FOCUS, api_name=False)
    form.send.click(visit.send, [form.place, form.text, form.consent, result, switch], [form.answer, transcript, downloads, result],
                    api_name="correct", concurrency_limit=4, show_progress_on=[form.answer])  # fmt: skip
    form.close.click(lambda: gr.update(visible=False), None, form.whole, queue=False, api_name=False)
    return {"correct_text": form.text, "consent": form.consent, "send": form.send, "close": form.close}


def _property(component: Any) -> str:
    return "value" if isinstance(component, gr.Button) else "label"


def _text(visit: Visit, t: dict[str, str], key: str) -> str:
    return t[key].format(megabytes=MEGABYTES, base=visit.base_name)


def open_page(page: gr.Blocks, host: str, port: int | None, **more: Any) -> Any:
    """Launch a page with what strangers need: limits, no share, nothing fetched from elsewhere, no details of errors."""
    return page.launch(
        server_name=host,
        server_port=port,
        max_file_size=MEGABYTES * 2**20,
        state_session_capacity=MAX_SESSIONS,
        share=False,
        show_error=False,
        ssr_mode=False,
        footer_links=[],
        theme=look.theme(),
        css=look.css(),
        head=look.SCRIPT,
        **more,
    )


def serve(
    whisper: Whisper, name: str, host: str, port: int | None, base: Whisper | None = None, base_name: str = "", keep: Keep | None = None
) -> None:
    """Open the page on this machine and stay until interrupted."""
    open_page(build(whisper, name, base, base_name, keep), host, port)


def main() -> None:
    """Open the page as the environment says: VISKA_MODEL, and if wanted VISKA_BASE, VISKA_LANGUAGE and VISKA_MAX_SECONDS."""
    names = {key: os.environ.get(f"VISKA_{key}", "") for key in ("MODEL", "BASE", "LANGUAGE")}
    if not names["MODEL"]:
        raise SystemExit("VISKA_MODEL is not set: a model's id on the Hub, such as somebody/whisper-small-sv, or a folder")
    whisper = open_model(names["MODEL"], names["LANGUAGE"])
    base = open_model(names["BASE"], whisper.language) if names["BASE"] else None
    titles = [names[key].rstrip("/").split("/")[-1] for key in ("MODEL", "BASE")]
    page = build(whisper, titles[0], base, titles[1], None, float(os.environ.get("VISKA_MAX_SECONDS", MAX_SECONDS)))
    open_page(page, "0.0.0.0" if "SPACE_ID" in os.environ else "127.0.0.1", None)


if __name__ == "__main__":
    main()
