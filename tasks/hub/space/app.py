"""Speak or upload a recording, read what the model hears. Run by `viska demo MODEL`, or as a Space with VISKA_MODEL set.

Visitors are strangers: uploads are limited in bytes and seconds, the queue is short, what was uploaded is deleted within the hour.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from tasks.contracts.errors import ViskaError
from tasks.contracts.languages import name as name_of
from tasks.model.transcribe import open_model, transcribe
from tasks.model.whisper import Whisper

MAX_BYTES = "100mb"
MAX_SECONDS = 3600.0
MAX_WAITING = 16
HOUR = 3600


def build(whisper: Whisper, name: str) -> gr.Blocks:
    """Return the page for one model."""

    def listen(path: str | None) -> Iterator[tuple[str, list[list[Any]]]]:
        if not path:
            raise gr.Error("Record something, or choose a file first.")
        words: list[str] = []
        rows: list[list[Any]] = []
        try:
            for segment in transcribe(whisper, Path(path).read_bytes(), MAX_SECONDS):
                words.append(segment.text)
                rows.append([f"{segment.start:.1f}", f"{segment.end:.1f}", segment.text])
                yield " ".join(words), rows
        except ViskaError as error:
            raise gr.Error(str(error)) from error
        if not rows:
            yield "(no speech in it)", rows

    with gr.Blocks(title=name, delete_cache=(HOUR, HOUR)) as page:
        language = name_of(whisper.borrower or whisper.language)
        gr.Markdown(f"# {name}\nSpeak {language}, or upload a recording of any length and format.")
        with gr.Row():
            with gr.Column():
                sound = gr.Audio(sources=["microphone", "upload"], type="filepath", label="Recording")
                button = gr.Button("Transcribe", variant="primary")
            with gr.Column():
                text = gr.Textbox(label="Text", lines=6, buttons=["copy"])
                with gr.Accordion("Piece by piece", open=False):
                    table = gr.Dataframe(headers=["from", "to", "text"], datatype=["str", "str", "str"], interactive=False, wrap=True,
                                         column_widths=["15%", "15%", "70%"])  # fmt: skip
        button.click(listen, sound, [text, table], api_name="transcribe")
    page.queue(max_size=MAX_WAITING, default_concurrency_limit=1)
    return page


def serve(whisper: Whisper, name: str, host: str, port: int | None) -> None:
    """Open the page on this machine and stay until interrupted."""
    build(whisper, name).launch(server_name=host, server_port=port, max_file_size=MAX_BYTES, share=False, footer_links=[])


if __name__ == "__main__":
    model = os.environ["VISKA_MODEL"]
    serve(open_model(model, os.environ.get("VISKA_LANGUAGE", "")), model.rstrip("/").split("/")[-1], "0.0.0.0", None)
