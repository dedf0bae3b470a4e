"""The demo as a Space: a folder that runs by itself, with copies of the few modules of ours that it uses."""

from importlib.metadata import version
from pathlib import Path

TASKS = Path(__file__).parents[2]
COPIED = (
    "__init__.py", "contracts/__init__.py", "contracts/errors.py", "contracts/languages.py", "contracts/values.py", "audio/*.py",
    "shards/__init__.py", "shards/format.py", "model/__init__.py", "model/shape.py", "model/tokens.py", "model/whisper.py",
    "model/generate.py", "model/start.py", "model/transcribe.py", "model/words.py", "hub/__init__.py", "hub/space/__init__.py",
    "hub/space/listen.py", "hub/space/look.py", "hub/space/show.py", "hub/space/subtitles.py", "hub/space/texts.py", "hub/space/visit.py",
)  # fmt: skip
NEEDED = ("av", "gradio", "huggingface-hub", "numpy", "pyarrow", "soundfile", "soxr", "tokenizers", "torch", "transformers")
README = """---
title: {name}
emoji: 🤫
colorFrom: blue
colorTo: yellow
sdk: gradio
sdk_version: {gradio}
app_file: app.py
---

Transcribes speech with {name} (language `{language}`). Set the variable `VISKA_MODEL` of this Space to the model's id on the Hub.
If wanted, set `VISKA_BASE` to a model to compare it with, and `VISKA_MAX_SECONDS` to the longest recording that a visitor may give it.
"""


def space_files(name: str, language: str) -> dict[str, bytes]:
    """Return the files of the Space for the model `name`, by path."""
    files = {f"tasks/{path.relative_to(TASKS).as_posix()}": path.read_bytes() for pattern in COPIED for path in sorted(TASKS.glob(pattern))}
    pins = "".join(f"{package}=={version(package)}\n" for package in NEEDED)
    card = README.format(name=name, gradio=version("gradio"), language=language)
    app = (Path(__file__).parent / "app.py").read_bytes()
    return files | {"app.py": app, "requirements.txt": pins.encode(), "README.md": card.encode()}
