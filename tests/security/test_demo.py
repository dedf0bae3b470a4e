"""S9: the limits of the demo are those of the page that is built, not only of a constant."""

from collections.abc import Iterator

import gradio as gr
import httpx
import pytest

from flows.__main__ import _parser
from tasks.hub.space import app
from tasks.model.whisper import load_whisper
from tests.support.tiny import new_folder


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[gr.Blocks]:
    """The page as `viska demo` opens it, but for the waiting."""
    folder = new_folder(tmp_path_factory.mktemp("model"))
    blocks = app.build(load_whisper(folder, "sv", "cpu"), "tiny", None, "", None)
    app.open_page(blocks, "127.0.0.1", None, prevent_thread_lock=True, quiet=True)
    yield blocks
    blocks.close()


def test_visitors_wait_in_a_short_queue_and_their_files_go_away(page: gr.Blocks) -> None:
    assert page._queue.max_size == app.MAX_WAITING <= 32 and page.delete_cache == (app.HOUR, app.HOUR)
    assert page.max_file_size == app.MEGABYTES * 2**20 and not page.share and not page.is_colab
    assert page.local_url.startswith("http://127.0.0.1:") and not page.analytics_enabled


def test_a_page_of_a_stranger_may_not_read_its_answers(page: gr.Blocks) -> None:
    answer = httpx.get(f"{page.local_url}config", headers={"Origin": "https://evil.example"})
    assert answer.headers.get("access-control-allow-origin") in (None, page.local_url.rstrip("/")), "Gradio checks this for loopback"
    assert httpx.get(f"{page.local_url}gradio_api/file=/etc/passwd").status_code in (403, 404)


@pytest.mark.parametrize("command", [["demo", "MODEL"], ["audit"]])
def test_pages_without_a_password_are_for_this_machine(command: list[str]) -> None:
    assert _parser().parse_args(command).host == "127.0.0.1"
