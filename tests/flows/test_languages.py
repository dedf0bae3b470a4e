"""A language that Whisper does not know, and a mix of two: from the recipe to training, scores, card, report and demo."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from huggingface_hub import ModelCard
from prefect.settings import PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from flows.__main__ import main
from flows.release import release
from flows.retrain import retrain
from flows.train import train
from tasks import policy
from tasks.contracts.errors import ModelError
from tasks.contracts.recipe import Recipe, read_recipe
from tasks.model.lessons import Lessons
from tasks.model.order import batch_numbers
from tasks.model.transcribe import open_model, transcribe
from tasks.model.whisper import Whisper, load_whisper
from tasks.shards.dataset import Split, open_split
from tasks.shards.plan import SPLITS
from tasks.start import new_model, start
from tasks.store.artifacts import load, peek, peek_all
from tasks.store.lines import from_lines
from tasks.store.objects import Store
from tests.steps.chain import RATE, prepare, sound
from tests.support.tiny import new_folder

pytestmark = pytest.mark.flow
SCRATCH = {"kind": "scratch", "width": 32, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "window": 1, "vocabulary": 300}
TRAINING = {"steps": 6, "batch": 4, "warmup": 1, "learning_rate": 1e-3, "evaluate_every": 3, "dev_clips": 4}
CANARY = "4f0c1d-canary"  # stands for a client id: it may be in the store, and nowhere that is published
N = {"train": 16, "dev": 4, "test": 6}


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120), temporary_settings({PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore"}):
        yield  # some steps run outside a flow here


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two corpora, and a base model that knows Whisper's languages. In the first one a test speaker is in train too."""
    here = tmp_path_factory.mktemp("languages")
    splits = [split for split, n in N.items() for _ in range(n)]
    _write(here / "own", [(number, f"giella {number}", f"{CANARY}-{split}-{number % 2}", split) for number, split in enumerate(splits)]
           + [(99, "okta", f"{CANARY}-test-0", "train")])  # fmt: skip
    _write(here / "other", [(100 + number, f"kieli {number}", f"{CANARY}-fi-{number % 3}", SPLITS[number % 3]) for number in range(9)])
    new_folder(here / "base")
    return here


def _write(folder: Path, rows: list[tuple[int, str, str, str]]) -> None:
    folder.mkdir()
    for number, *_ in rows:
        soundfile.write(folder / f"{number}.wav", sound(number), RATE, subtype="PCM_16")
    lines = [f"{number}.wav\t{text}\t{speaker}\t{split}" for number, text, speaker, split in rows]
    (folder / "manifest.tsv").write_text("\n".join(["path\ttext\tspeaker\tsplit", *lines]))


def mix(here: Path, language: str = "fi", weight: float = 2.0, turned: bool = False) -> dict[str, Any]:
    own = {"name": "own", "corpus": {"kind": "folder", "path": str(here / "own")}}
    other = {"name": "other", "corpus": {"kind": "folder", "path": str(here / "other")}, "language": language, "use": "train",
             "weight": weight, "licence": "CC-BY-4.0"}  # fmt: skip
    return {"kind": "mix", "parts": [other, own] if turned else [own, other]}


def told(here: Path, token: str, model: str) -> Recipe:
    base = SCRATCH if model == "scratch" else {"kind": "pretrained", "name": str(here / "base")}
    names = {"name": "sami", "release": {"name": f"sami-{token}-{model}", "anyway": True}, "language": "se", "language_token": token}
    return read_recipe({**names, "corpus": mix(here), "model": base, "training": TRAINING, "store": str(here / "store")})


def run(recipe: Recipe) -> Path:
    """Run the whole chain and return the model's page."""
    policy.made.clear()
    page, _, _ = retrain(recipe)
    return Path(page)


@pytest.fixture(scope="module")
def added(here: Path) -> Path:
    return run(told(here, "new", "pretrained"))


@pytest.fixture(scope="module")
def borrowed(here: Path, added: Path) -> Path:
    return run(told(here, "fi", "scratch"))


@pytest.fixture(scope="module")
def pages(here: Path, added: Path, borrowed: Path) -> dict[tuple[str, str], Path]:
    """The pages of all four kinds; the clips of the last two are prepared already."""
    store, (dataset, *_) = Store(str(here / "store")), [each for each, _ in peek_all(Store(str(here / "store")), "dataset")]
    found = {("new", "pretrained"): added, ("fi", "scratch"): borrowed}
    for token, model in (("fi", "pretrained"), ("new", "scratch")):
        recipe = told(here, token, model)
        manifest = load(store, "manifest", dataset.facts["refers_to"]["manifest"][0])
        base = start(str(here / "store"), recipe.model, recipe.token, 0, manifest, token == "new")
        checkpoint, report = train.fn(recipe, base.key, dataset.key)
        found[token, model] = Path(release.fn(recipe, checkpoint, report)[0])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("model", ["pretrained", "scratch"])
@pytest.mark.parametrize("token", ["new", "fi"])
def test_what_is_published_hears_the_language_by_its_token_and_says_so(
    pages: dict[tuple[str, str], Path], here: Path, token: str, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    page, code = pages[token, model], "se" if token == "new" else "fi"
    listener, processor = WhisperForConditionalGeneration.from_pretrained(page), WhisperProcessor.from_pretrained(page)
    features = processor(np.zeros(8_000, np.float32), sampling_rate=16_000, return_tensors="pt").input_features
    ids = listener.generate(features, return_dict_in_generate=True).sequences
    assert processor.tokenizer.decode(ids[0, :4]) == f"<|startoftranscript|><|{code}|><|transcribe|><|notimestamps|>"

    card, report = (page / "README.md").read_text(), (page / "report.html").read_text()
    assert ModelCard(card).data.language == "se"
    assert "A Whisper model for Northern Sami (`se`), started" in card
    assert ("a token of its own was added, `<|se|>`" in card) == (token == "new") != ("written with the token of Finnish" in card)
    assert f"Northern Sami (se, with {'a token of its own' if token == 'new' else 'the token of Finnish'})" in report

    whisper = open_model(str(page))
    assert (whisper.language, whisper.borrower) == (code, "" if token == "new" else "se")
    recording = here / "own" / "3.wav"
    heard = " ".join(segment.text for segment in transcribe(whisper, recording.read_bytes()))
    for asked in ([], ["--language", "se"]):
        assert main(["transcribe", str(page), str(recording), *asked]) == 0
        assert capsys.readouterr().out == f"{heard}\n"


@pytest.mark.slow
@pytest.mark.parametrize("token", ["new", "fi"])
def test_labels_begin_with_the_token(pages: dict[tuple[str, str], Path], here: Path, token: str) -> None:
    store, own = Store(str(here / "store")), "se" if token == "new" else "fi"
    for dataset, _ in peek_all(store, "dataset"):
        for model in ("pretrained", "scratch"):
            whisper = load_whisper(pages[token, model], own, "cpu")
            assert _prefixes(whisper, open_split(store, dataset, "train")) == {"own": {own}, "other": {"fi"}}


def _prefixes(whisper: Whisper, clips: Split) -> dict[str, set[str]]:
    """Return the languages in the labels of each part, from where the loop takes them."""
    found: dict[str, set[str]] = {}
    lessons = Lessons(whisper, clips, read_recipe({}).training)
    for number, id in enumerate(clips.ids):
        start, language, *rest = whisper.tokenizer.convert_ids_to_tokens(lessons.lesson(number, 0, 0).inputs[:4])
        assert (start, *rest) == ("<|startoftranscript|>", "<|transcribe|>", "<|notimestamps|>")
        found.setdefault(id.split("/")[0], set()).add(language.strip("<|>"))
    return found


@pytest.mark.slow
def test_predictions_are_made_with_the_token(pages: dict[tuple[str, str], Path], here: Path) -> None:
    store = Store(str(here / "store"))
    made_with = [made_from["language"] for _, made_from in peek_all(store, "predictions")]
    assert sorted(made_with) == ["fi"] * 4 + ["se"] * 4
    for key in store.names("predictions"):
        artifact, _ = peek(store, "predictions", key)
        rows = from_lines(Path(store.uri(artifact.file("predictions.jsonl").path)).read_bytes())
        assert len(rows) == N["test"] and all(row["id"].startswith("own/") and row["reference"].startswith("giella") for row in rows)


def test_a_second_run_does_nothing(added: Path, here: Path) -> None:
    again = run(told(here, "new", "pretrained"))
    assert again == added and dict(policy.made) == {}


def test_card_and_report_say_what_there_was_to_learn_from_and_what_was_scored(added: Path) -> None:
    card, report = (added / "README.md").read_text(), (added / "report.html").read_text()
    assert "- own: Northern Sami, 26 clips (0.0029 h) of 6 speakers\n" in card
    assert "- other: Finnish, 9 clips (0.001 h) of 3 speakers, weight 2, licence CC-BY-4.0\n" in card
    assert "Licence of the recordings" not in card, "the corpora say it, the recipe does not"
    for page in (card, report.replace("<code>", "`").replace("</code>", "`")):
        assert "The test is the one frozen as `sami` with 6 clips. 1 clip of train with the same speaker as in test: taken out." in page
    assert "<td>other</td><td>Finnish</td><td>9, 0, 0</td><td>0.001</td><td>3</td><td>2</td><td>CC-BY-4.0</td>" in report
    assert "<td>own</td><td>Northern Sami</td><td>16, 4, 6</td><td>0.0029</td><td>6</td><td>1</td><td>not told</td>" in report


def test_epochs_are_counted_as_the_weights_lengthen_them(added: Path) -> None:
    clips = TRAINING["steps"] * TRAINING["batch"]
    assert f"{TRAINING['steps']} steps ({round(clips / (16 + 2 * 9), 2)} epochs)" in (added / "README.md").read_text()


def test_no_speaker_is_named_in_anything_that_is_published(added: Path, here: Path) -> None:
    assert any(CANARY.encode() in path.read_bytes() for path in (here / "store" / "dataset").rglob("index-*.parquet")), "it would be found"
    published = [path for kind in ("models", "spaces", "page", "report", "space") for path in (here / "store" / kind).rglob("*")]
    assert {"README.md", "report.html", "recipe.json", "app.py"} <= {path.name for path in published}
    assert not [path for path in published if path.is_file() and CANARY.encode() in path.read_bytes()]


@pytest.fixture(scope="module")
def swedish(here: Path) -> Any:
    """Prepares the mix for a Swedish model, without Prefect's engine."""
    return lambda corpus, **sections: prepare(model=str(here / "base"), root=str(here / "swedish"), corpus=corpus, **sections)


def test_a_part_in_another_language_is_learnt_with_its_token_and_weight_and_never_scored(here: Path, swedish: Any) -> None:
    dataset, store = swedish(mix(here)).dataset, Store(str(here / "swedish"))
    rows = pq.read_table(store.uri(dataset.file("index.parquet").path)).to_pylist()
    parts = {(row["corpus"], row["language"], row["weight"], row["licence"]) for row in rows}
    assert parts == {("own", "sv", 1.0, ""), ("other", "fi", 2.0, "CC-BY-4.0")}
    assert {split: {row["corpus"] for row in rows if row["split"] == split} for split in SPLITS} == {
        "train": {"own", "other"}, "dev": {"own"}, "test": {"own"},
    }  # fmt: skip

    clips = open_split(store, dataset, "train")
    assert _prefixes(load_whisper(here / "base", "sv", "cpu"), clips) == {"own": {"sv"}, "other": {"fi"}}
    assert _in_an_epoch(clips) == {id: 2 if id.startswith("other/") else 1 for id in clips.ids}


def _in_an_epoch(clips: Split) -> dict[str, int]:
    training = read_recipe({"training": {**TRAINING, "batch": int(clips.weights.sum())}}).training
    numbers = list(batch_numbers(0, len(clips), training, clips.weights))
    return {id: numbers.count(number) for number, id in enumerate(clips.ids)}


def test_another_weight_or_language_is_another_training_and_another_order_of_parts_is_not(here: Path, swedish: Any) -> None:
    first = swedish(mix(here))
    changed = [swedish(mix(here, weight=1.0)), swedish(mix(here, language="et"))]
    assert len({first.content, *(each.content for each in changed)}) == 3
    turned = swedish(mix(here, turned=True))
    assert turned.content == first.content and turned.manifest.key != first.manifest.key
    scratch = read_recipe({"model": SCRATCH}).model
    models = [new_model.fn(str(here / "swedish"), scratch, "sv", 0, each.manifest.facts["training_words"], each.manifest)
              for each in (first, turned)]  # fmt: skip
    assert models[0].digest == models[1].digest, "a new tokenizer is the same too"
    assert not {"audio", "features"} & set().union(*(each.kinds for each in (*changed, turned))), "nothing was decoded again"


@pytest.mark.parametrize(("language", "own", "message"), [
    ("fi", "en", r"^the model is English-only, and the language of some clips is 'fi'; choose a multilingual base model$"),
    ("se", "sv", r"^the tokenizer has no token <\|se\|>; .* a part of a mix can say the language whose token it borrows$"),
])  # fmt: skip
def test_a_part_whose_language_the_base_model_does_not_know_is_refused_before_training(
    here: Path, swedish: Any, tmp_path: Path, language: str, own: str, message: str
) -> None:
    base = new_folder(tmp_path / "base")
    said = json.loads((base / "generation_config.json").read_text())
    (base / "generation_config.json").write_text(json.dumps(said | {"is_multilingual": own != "en"}))
    with pytest.raises(ModelError, match=message):
        prepare(model=str(base), root=str(here / "swedish"), corpus=mix(here, language), language=own)
