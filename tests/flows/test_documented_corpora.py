"""Every command of docs/corpora.md that needs no other machine does what the page says."""

import re
import runpy
import shlex
from pathlib import Path

import pytest

from flows.__main__ import main

PAGE = Path(__file__).parents[2] / "docs" / "corpora.md"
COMMANDS = [
    command
    for command in re.findall(r"^\| .*`(.*viska plan[^`]*)` \|$", PAGE.read_text(), re.MULTILINE)
    if not {"MDC_API_KEY=...", "google/fleurs"} & set(command.split())
]
CLIPS = {"subtitles": (3, 1, 1), "mix.yaml": (27, 6, 8), "plan": (2000, 60, 150)}  # cues are joined to long clips; others have all 38


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the page's corpora were made."""
    home = tmp_path_factory.mktemp("documented")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setattr("sys.argv", ["make_corpora.py", "corpora"])
        runpy.run_path(str(PAGE.with_name("make_corpora.py")), run_name="__main__")
    return home


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_shows_the_clips(
    command: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    monkeypatch.setenv("VISKA_STORE", "store")
    assert main(shlex.split(command)[1:]) == 0
    shown = dict(re.findall(r"^(train|dev|test) +([0-9,]+) ", capsys.readouterr().out, re.MULTILINE))
    expected = CLIPS.get(command.rpartition("/")[2].rpartition(" ")[2], (24, 6, 8))
    assert tuple(int(shown[split].replace(",", "")) for split in ("train", "dev", "test")) == expected
    assert not (home / "store").exists()


def test_the_page_has_a_command_for_each_kind() -> None:
    from tasks.contracts.recipe import KINDS

    rows = PAGE.read_text()
    assert all(f"\n| `{kind}` |" in rows for kind in KINDS["corpus"]) and len(COMMANDS) >= 9
