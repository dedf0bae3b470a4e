"""Each format says in its own engine what the model says, and a damaged export is refused. About forty seconds: training and tracing.

The packages are optional: what needs one is skipped where it is not installed.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tasks.audio import SAMPLE_RATE
from tasks.contracts.errors import ModelError, RecipeError
from tasks.exports.clips import Clip
from tasks.exports.formats import FORMATS, open_listener, write
from tasks.exports.parity import COMPARED, compare, some_of
from tasks.model.generate import hear_all
from tasks.model.whisper import Whisper, load_whisper
from tasks.scoring.rates import word_error_rate
from tests.support.spoken import spoken_clips
from tests.support.tiny import new_folder

ENGINES = {
    "ctranslate2": ["ctranslate2"], "ggml-f16": ["pywhispercpp"], "ggml-q8_0": ["pywhispercpp", "gguf"],
    "ggml-q5_0": ["pywhispercpp", "gguf"], "onnx": ["onnxruntime", "onnxscript"], "float16": [],
}  # fmt: skip
GIVEN = [
    ("whole", "ctranslate2"), ("whole", "ggml-f16"), ("whole", "ggml-q8_0"), ("whole", "ggml-q5_0"), ("whole", "float16"),
    ("wide", "ctranslate2"), ("wide", "ggml-f16"), ("wide", "onnx"), ("own", "ctranslate2"), ("own", "float16"),
]  # fmt: skip


@pytest.mark.parametrize("model", ["whole", "wide", "own"])
def test_the_models_of_these_tests_say_words(model: str, request: pytest.FixtureRequest) -> None:
    whisper, clips = given(model, request.getfixturevalue(model))
    heard = dict(hear_all(whisper, clips, 3))
    assert [heard[number].text for number in range(len(clips))] == [each.text for each in clips]
    assert len(" ".join(each.text for each in clips).split()) == 6


@pytest.mark.parametrize(("model", "format"), GIVEN)
def test_an_export_says_what_the_model_says_and_a_damaged_one_is_refused(
    model: str, format: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    for engine in ENGINES[format]:
        pytest.importorskip(engine, reason=f"the optional package {engine} is not installed")
    folder: Path = request.getfixturevalue(model)
    whisper, clips = given(model, folder)
    write(format, folder, tmp_path, whisper.language)
    assert compare(format, tmp_path, whisper, clips, word_error_rate) == 0
    deafen(tmp_path / FORMATS[format].folder, folder)
    with pytest.raises(ModelError, match=rf"the export {format} hears \d of {len(clips)} clips differently.*leave this format out.*here,"):
        compare(format, tmp_path, whisper, clips, word_error_rate)


def given(model: str, folder: Path) -> tuple[Whisper, list[Clip]]:
    """Return the model, and some of the clips whose words it says."""
    n_mels, window, language = {"whole": (80, 30, "sv"), "wide": (128, 30, "yue"), "own": (80, 2, "sv")}[model]
    return load_whisper(folder, language, "cpu"), spoken_clips(n_mels, window)[1:4]


def deafen(target: Path, folder: Path) -> None:
    """Put zeros in the files of an export where the decoder takes in what it hears."""
    weights = load_file(folder / "model.safetensors")
    names = [name for name in weights if name.endswith("encoder_attn.out_proj.weight")]
    files = {path: path.read_bytes() for path in target.iterdir()}
    for weight in (weights[name] for name in names):
        traces = [each for each in written(weight) if any(each in data for data in files.values())]
        assert traces, "the weight is in no file"
        files = {path: data.replace(traces[0], bytes(len(traces[0]))) for path, data in files.items()}
    for path, data in files.items():
        path.write_bytes(data)


def written(weight: torch.Tensor) -> list[bytes]:
    """Return the bytes that a weight may have become."""
    values = weight.float().numpy()
    forms = [values.astype("<f2"), values, np.ascontiguousarray(values.T)]
    if "gguf" in sys.modules:
        import gguf

        forms += [gguf.quantize(values, kind) for kind in (gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q5_0)]
    return [each.tobytes() for each in forms]


@pytest.mark.parametrize("format", ["ctranslate2", "ggml-f16", "onnx", "float16"])
def test_files_that_are_no_export_are_refused(format: str, own: Path, tmp_path: Path) -> None:
    for engine in ENGINES[format]:
        pytest.importorskip(engine, reason=f"the optional package {engine} is not installed")
    names = ["model.bin", "ggml-model-f16.bin", "encoder_model.onnx", "decoder_model_merged.onnx", "model.safetensors", "config.json"]
    place = tmp_path / FORMATS[format].folder
    place.mkdir()
    for name in names:
        (place / name).write_bytes(b"{}" * 99)
    with pytest.raises(ModelError, match=r"cannot open it|a checkpoint needs"):
        open_listener(format, tmp_path, load_whisper(own, "sv", "cpu"))


def test_faster_whisper_takes_the_folder_as_it_is(whole: Path, tmp_path: Path) -> None:
    package = pytest.importorskip("faster_whisper", reason="the optional package faster-whisper is not installed")
    write("ctranslate2", whole, tmp_path, "sv")
    engine = package.WhisperModel(str(tmp_path / "ctranslate2"), device="cpu", compute_type="float32", cpu_threads=1, local_files_only=True)
    assert engine.model.is_multilingual, "or it would be asked for English"
    for clip in given("whole", whole)[1]:
        sound = np.zeros(30 * SAMPLE_RATE, np.float32)  # of a shorter one it fills the features up with a value that training never showed
        sound[: clip.samples.size] = clip.samples
        segments, _ = engine.transcribe(sound, language="sv", beam_size=1, without_timestamps=True, temperature=0.0)
        assert " ".join(each.text.strip() for each in segments) == clip.text


def test_float16_is_a_whole_checkpoint(own: Path, tmp_path: Path) -> None:
    write("float16", own, tmp_path, "sv")
    assert {weight.dtype for weight in load_file(tmp_path / "float16" / "model.safetensors").values()} == {torch.float16}
    assert json.loads((tmp_path / "float16" / "config.json").read_text())["dtype"] == "float16"
    assert (tmp_path / "float16" / "model.safetensors").stat().st_size < 0.55 * (own / "model.safetensors").stat().st_size


def test_a_weight_that_float16_cannot_hold_is_refused(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "model")
    whisper = load_whisper(folder, "sv", "cpu")
    with torch.no_grad():
        whisper.model.model.decoder.layers[0].fc1.bias[3] = 7e4
    whisper.model.save_pretrained(folder)
    with pytest.raises(ModelError, match=r"a weight of model\.decoder\.layers\.0\.fc1\.bias is larger than float16 can hold, 65,504"):
        write("float16", folder, tmp_path, "sv")


def test_a_model_that_says_nothing_cannot_be_compared(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "model", window=2)
    whisper = load_whisper(folder, "sv", "cpu")
    whisper.model.generation_config.suppress_tokens = [id for id in range(len(whisper.tokenizer)) if id != whisper.tokenizer.eos_token_id]
    with pytest.raises(ModelError, match="hears no word in 8 clips"):
        compare("float16", tmp_path, whisper, spoken_clips(80, 2), word_error_rate)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="export 'gguf': no such format; expected one of ctranslate2, ggml-f16"):
        write("gguf", new_folder(tmp_path / "model"), tmp_path, "sv")


@pytest.mark.parametrize(("format", "module"), [
    ("ctranslate2", "ctranslate2.converters"), ("ggml-q5_0", "gguf"), ("ggml-q8_0", "gguf"), ("onnx", "onnx"), ("onnx", "onnxscript"),
    ("onnx", "onnx_ir"),
])  # fmt: skip
def test_without_a_package_that_writes_the_refusal_says_what_to_install(
    format: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModelError, match=r"is not installed.*pip install 'viska\[(exports|ctranslate2)\]'"):
        write(format, new_folder(tmp_path / "model"), tmp_path, "sv")


@pytest.mark.parametrize(
    ("format", "module"), [("ctranslate2", "ctranslate2"), ("ggml-f16", "pywhispercpp.model"), ("onnx", "onnxruntime")]
)
def test_without_a_package_that_hears_the_refusal_says_what_to_install(
    format: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModelError, match=r"is not installed.*pip install 'viska\[(exports|ctranslate2)\]'"):
        open_listener(format, tmp_path, load_whisper(new_folder(tmp_path / "model"), "sv", "cpu"))


class Sounds:
    """So many clips, without their features."""

    def __init__(self, n_clips: int) -> None:
        self.clips = [
            Clip(str(number), "", 1, np.zeros((80, 1), np.float32), 0.0, np.full(1, number, np.float32)) for number in range(n_clips)
        ]

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, number: int) -> Clip:
        return self.clips[number]

    def samples(self, number: int) -> np.ndarray:
        return self.clips[number].samples


@pytest.mark.parametrize(("n_clips", "n_taken"), [(1, 1), (50, 50), (51, 26), (1000, 50), (999, 50)])
def test_the_clips_that_are_compared_are_spread_over_the_split(n_clips: int, n_taken: int) -> None:
    taken = some_of(Sounds(n_clips))
    assert len(taken) == n_taken <= COMPARED
    assert [each.samples[0] for each in taken] == [float(each.id) for each in taken]
    assert int(taken[-1].id) >= n_clips - n_clips / n_taken - 1
