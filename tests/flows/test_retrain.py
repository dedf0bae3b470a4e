"""The whole chain, for real, on tiny data: Prefect, eSpeak, torch, a store on disk. Each test says what must be made, and what must not."""

import csv
import json
import logging
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness

from flows.__main__ import main
from flows.audit import audit
from flows.prepare import prepare
from flows.retrain import retrain
from tasks import policy
from tasks.contracts.errors import CorpusError
from tasks.contracts.recipe import Recipe, read_recipe
from tasks.corrections.decisions import correction, save
from tasks.store.artifacts import load
from tasks.store.lines import from_lines
from tasks.store.objects import Store
from tests.support.recipe import RECIPE

pytestmark = pytest.mark.flow
TINY = RECIPE | {"release": {"anyway": True}}  # four steps make nothing better
PARTS = 3  # one for each split of so small a corpus
ONCE = ("corpus", "corrections", "manifest", "plan", "model", "dataset", "checkpoint", "report", "verdict", "page", "staged",
        "published", "models", "space", "spaces")  # fmt: skip
ALL = dict.fromkeys((*ONCE, "test", "frozen"), 1) | {"audio": PARTS, "features": PARTS, "predictions": 2, "long": 2}
AGAIN = {kind: n for kind, n in ALL.items() if kind not in ("verdict", "page", "staged", "published")}  # what is published already


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which the tiny recipe has run once; copied by the tests that spoil it."""
    root = tmp_path_factory.mktemp("first") / "store"
    _run(root)
    assert made() == ALL and not policy.cached
    return root


@pytest.fixture
def store(first: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(first, tmp_path / "store", symlinks=True))


def _recipe(root: Path, **changes: dict[str, object]) -> Recipe:
    changed = {section: TINY.get(section, {}) | fields for section, fields in changes.items()}  # type: ignore[operator]
    return read_recipe(TINY | changed | {"store": str(root)})


def _run(root: Path, **changes: dict[str, object]) -> tuple[str, str, str]:
    policy.made.clear()
    policy.cached.clear()
    result: tuple[str, str, str] = retrain(_recipe(root, **changes))
    return result


def made() -> dict[str, int]:
    return dict(policy.made)


def test_a_run_leaves_shards_checkpoint_report_and_a_model_folder_that_transformers_loads(first: Path) -> None:
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    (page,) = (first / "models").glob("*/latest")
    assert {"README.md", "config.json", "generation_config.json", "model.safetensors", "preprocessor_config.json", "recipe.json",
            "report.html", "tokenizer.json", "tokenizer_config.json"} <= {path.name for path in page.iterdir()}  # fmt: skip
    WhisperProcessor.from_pretrained(page)
    model = WhisperForConditionalGeneration.from_pretrained(page)
    assert model.generation_config.language == "sv" and model.generation_config.forced_decoder_ids is None  # pitfall 22
    report = json.loads(next((first / "report").glob("*/report-*.json")).read_text())
    assert report["n_clips"] == 6 and report["n_speakers"] == 6
    assert (page / "README.md").read_text().count(f"{100 * report['after']['wer']['value']:.1f} %")


def test_the_report_stands_in_the_prefect_ui(first: Path) -> None:
    with get_client(sync_client=True) as client:
        shown = {each.key: each for each in client.read_artifacts()}
    headline, slices, page = (str(shown[key].data) for key in ("report", "slices", "report-page"))
    report = json.loads(next((first / "report").glob("*/report-*.json")).read_text())
    assert (
        f"{100 * report['after']['wer']['value']:.1f} % WER" in headline
        and "viska-sv-1" in headline
        and "recordings of minutes" in headline
    )
    assert all(each["name"] in slices for each in report["slices"]) and "report-" in page


def test_the_words_of_plain_modules_and_of_transformers_stand_in_the_log_of_the_run() -> None:
    @flow
    def says() -> None:
        logging.getLogger("tasks.model.loop").info("ett steg")
        logging.getLogger("transformers.models.whisper").warning("ett varningens ord")
        logging.getLogger("matplotlib").warning("ovidkommande")

    says()
    until = time.monotonic() + 20
    with get_client(sync_client=True) as client:
        while len(said := {each.message for each in client.read_logs()} & {"ett steg", "ett varningens ord", "ovidkommande"}) < 2:
            assert time.monotonic() < until, said
            time.sleep(0.2)
    assert said == {"ett steg", "ett varningens ord"}


def test_a_second_run_does_nothing_and_says_so(store: Path) -> None:
    _run(store)
    assert made() == {}
    assert policy.cached == Counter(AGAIN)


def test_compacting_what_is_compact_makes_nothing(store: Path) -> None:
    policy.made.clear()
    _, key = prepare(_recipe(store), compact=True)
    assert made() == {"plan": 1} and [path.name for path in (store / "dataset").iterdir()] == [key]


def test_a_run_from_another_folder_finds_everything(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _run(store)
    assert made() == {}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"scoring": {"batch": 3}}, set(), marks=pytest.mark.slow),
        pytest.param({"scoring": {"resamples": 200}}, {"report", "verdict", "page"}, marks=pytest.mark.slow),
        ({"scoring": {"normaliser": "plain"}}, {"report", "verdict", "page"}),  # nothing is transcribed again
        pytest.param({"scoring": {"long": {"recordings": 0}}}, {"report", "verdict", "page"}, marks=pytest.mark.slow),
        ({"training": {"learning_rate": 2e-3}}, {"checkpoint", "predictions", "long", "report", "verdict", "page"}),
        pytest.param(
            {"features": {"dtype": "float32"}},
            {"features", "dataset", "predictions", "long", "checkpoint", "report", "verdict", "page"},
            marks=pytest.mark.slow,
        ),
        ({"release": {"name": "other"}}, {"page", "space"}),
        (
            {"corpus": {"n_test": 8}, "splits": {"frozen": "eight"}},
            {
                "test",
                "frozen",
                "corpus",
                "manifest",
                "plan",
                "audio",
                "features",
                "dataset",
                "predictions",
                "long",
                "checkpoint",
                "report",
                "verdict",
                "page",
            },
        ),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_a_changed_field_repeats_the_steps_that_depend_on_it_and_no_other(
    store: Path, changes: dict[str, dict[str, object]], expected: set[str]
) -> None:
    _run(store, **changes)
    assert set(made()) - {"staged", "published", "models", "spaces"} == expected


def test_further_tests_are_scored_before_and_after_and_freeze_their_own_clips(store: Path) -> None:
    others = [{"name": "german", "language": "de", "corpus": {"kind": "espeak", "n_train": 20, "n_dev": 4, "n_test": 5, "seed": 4}}]
    _, _, key = _run(store, scoring={"others": others})
    assert made() == {"corpus": 1, "test": 1, "manifest": 1, "plan": 1, "audio": 1, "features": 1, "dataset": 1, "frozen": 1,
                      "predictions": 2, "report": 1, "verdict": 1, "page": 1, "staged": 1, "published": 1, "models": 1}  # fmt: skip
    report = json.loads(next((store / "report").glob(f"{key}/report-*.json")).read_text())
    (german,) = report["forgetting"]
    told = [german[key] for key in ("name", "language", "n_clips", "n_learnt", "normaliser")]
    assert told == ["german", "de", 5, 0, "viska-plain-1"]
    assert german["before"]["low"] <= german["before"]["value"] and report["long_form"]["n_recordings"] == 1
    frozen = json.loads((store / "frozen" / "tiny~german.json").read_text())
    assert len(frozen["scored"]) == 5
    _run(store, scoring={"others": others})
    assert made() == {}


def test_another_corpus_under_the_same_name_is_refused_because_of_its_test(store: Path) -> None:
    with pytest.raises(CorpusError, match=r"of the 6 clips of the frozen test 0 are missing in the corpus and 6 are changed"):
        _run(store, corpus={"n_test": 8})


def _objects(store: Path, kind: str, name: str) -> list[Path]:
    return sorted(store.glob(f"{kind}/*/{name}"))


@pytest.mark.parametrize(
    ("kind", "name", "expected", "how"),
    [
        ("features", "shard-*.arrow", {"features"}, "deleted"),
        ("features", "shard-*.arrow", {"features"}, "one bit flipped"),
        ("audio", "audio-*.arrow", {"plan", "audio"}, "truncated"),
        ("checkpoint", "model-*.safetensors", {"checkpoint"}, "one bit flipped"),
        ("checkpoint", "model-*.safetensors", {"checkpoint"}, "deleted"),
        ("report", "report-*.html", {"report"}, "truncated"),
        ("dataset", "seal.json", {"dataset"}, "deleted"),
        ("dataset", "seal.json", {"dataset"}, "one bit flipped"),
    ],
)
def test_what_is_deleted_or_damaged_is_made_again_and_nothing_else(store: Path, kind: str, name: str, expected: set[str], how: str) -> None:
    victim = _objects(store, kind, name)[0]
    data = bytearray(victim.read_bytes())
    if how == "deleted":
        victim.unlink()
    elif how == "truncated":
        victim.write_bytes(data[: len(data) // 2])
    else:
        data[len(data) // 3] ^= 1 if name != "seal.json" else 0x80  # a seal with another letter is another seal; this is no UTF-8
        victim.write_bytes(data)
    _run(store)
    assert made() == dict.fromkeys(expected, 1)
    assert policy.cached == Counter(AGAIN) - Counter(expected)


def test_a_checkpoint_made_again_continues_from_the_trainings_own_checkpoints(store: Path) -> None:
    before = load(Store(str(store)), "checkpoint", next((store / "checkpoint").iterdir()).name)
    for path in (store / "checkpoint").rglob("*.*"):
        path.unlink()
    _run(store)
    after = load(Store(str(store)), "checkpoint", before.key)
    assert after.digest == before.digest  # not a step was trained again: even the seconds in the log are the same


def test_clips_that_cannot_be_used_are_counted_in_the_report_with_their_reasons(tmp_path: Path) -> None:
    import numpy as np
    import soundfile

    def sound(number: int, seconds: int = 1) -> np.ndarray:
        time = np.arange(8_000 * seconds)
        return np.where(time < 2_000, 0, np.sin(time * (0.05 + 0.01 * number)) * 0.3)

    folder = tmp_path / "corpus"
    folder.mkdir()
    rows = ["path\ttext\tspeaker\tsplit"]
    for number in range(30):
        soundfile.write(folder / f"{number}.wav", sound(number), 8_000)
        rows.append(f"{number}.wav\tton {number}\ts{number % 5}\t{('train', 'train', 'train', 'dev', 'test')[number % 5]}")
    (folder / "empty.wav").write_bytes(b"")
    (folder / "noise.wav").write_bytes(b"<html>404 Not Found</html>" * 99)
    soundfile.write(folder / "long.wav", sound(40, seconds=5), 8_000)
    rows += ["empty.wav\ttom\ts1\ttrain", "noise.wav\tbrus\ts1\ttrain", "long.wav\tlång\ts1\ttrain", "gone.wav\tborta\ts1\ttrain",
             "0.wav\t\ts1\ttrain", "1.wav\t" + "ord " * 60 + "\ts1\ttrain", "2.wav\tigen\ts1\ttrain"]  # fmt: skip
    soundfile.write(folder / "1b.wav", sound(41), 8_000)
    rows[-2] = rows[-2].replace("1.wav", "1b.wav")
    (folder / "manifest.tsv").write_text("\n".join(rows))
    recipe = TINY | {
        "corpus": {"kind": "folder", "path": str(folder)},
        "store": str(tmp_path / "store"),
        "gates": {"max_rejected": 1.0, "max_text_rate": 0},
        "model": TINY["model"] | {"max_tokens": 32},
    }
    policy.made.clear()
    _, _, report = retrain(read_recipe(recipe))
    store = Store(str(tmp_path / "store"))
    numbers = json.loads(Path(store.uri(load(store, "report", report).file("report.json").path)).read_text())
    assert numbers["dataset"]["rejected"] == {"missing file": 1, "empty text": 1, "double id": 1, "unusable audio": 2, "too long": 1,
                                              "label too long": 1}  # fmt: skip
    assert sum(numbers["dataset"]["splits"].values()) + numbers["dataset"]["n_rejected"] == len(rows) - 1  # nothing is lost silently
    dataset = load(store, "dataset", next((tmp_path / "store" / "dataset").iterdir()).name)
    quarantine = list(csv.DictReader(Path(store.uri(dataset.file("quarantine.csv").path)).read_text().splitlines()))
    assert len(quarantine) == dataset.facts["n_rejected"] and all(row["reason"] and row["detail"] for row in quarantine)


def test_a_corpus_with_nothing_left_is_refused_with_its_reasons(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "a.wav").write_bytes(b"")
    (folder / "metadata.csv").write_text("file_name,text\na.wav,hej\n")
    with pytest.raises(CorpusError, match=r"no clips in split 'train'|no clips in split 'dev'"):
        retrain(read_recipe(TINY | {"corpus": {"kind": "folder", "path": str(folder)}, "store": str(tmp_path / "store")}))


def test_runs_are_compared_and_listed_by_the_command(first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "comparison.html"
    assert main(["compare", "tiny", "tiny", "--store", str(first), "--page", str(page)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("tiny  WER") == 2 and "gain +0.0 (+0.0 to +0.0)" in printed and page.read_text().startswith("<!doctype html>")
    assert main(["compare", "tiny", "--store", str(first), "--json"]) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)["runs"]] == ["tiny"]
    assert main(["runs", "--store", str(first), "--verdict", "current", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert 12 < listed["n_clips"] <= 24 and (listed["steps"], listed["version"], listed["device"][:3]) == (4, 1, "cpu")
    assert main(["runs", "--store", str(first), "--verdict", "refused"]) == 0 and "no such run" in capsys.readouterr().out
    assert main(["compare", "tine", "--store", str(first)]) == 2 and "no report is of 'tine'" in capsys.readouterr().err
    assert main(["audit", "--checkpoint", "a" * 24]) == 2 and "go together" in capsys.readouterr().err


def test_an_audit_hears_all_splits_and_lists_suspects_and_the_next_run_uses_what_was_decided(store: Path) -> None:
    keys = [next((store / kind).iterdir()).name for kind in ("checkpoint", "dataset")]
    policy.made.clear()
    key, dataset = audit(_recipe(store), *keys)
    assert made() == {"predictions": 2, "audit": 1}, "what was heard in the test is known"
    (file,) = (store / "audit" / key).glob("suspects-*.jsonl")
    suspects = from_lines(file.read_bytes())
    assert {each["split"] for each in suspects} == {"train", "dev", "test"} and dataset == keys[1]
    wrong = next(each for each in suspects if each["split"] == "train")
    save(Store(str(store)), "tiny", [correction(wrong["id"], wrong["recording"], wrong["label"], "något helt annat")])
    _, _, report = _run(store)
    assert {"corrections", "manifest", "dataset", "checkpoint"} <= set(made()) and "audio" not in made()
    told = json.loads(next((store / "report" / report).glob("report-*.json")).read_text())
    assert told["dataset"]["corrections"] == {"n_corrected": 1, "n_dropped": 0, "n_accepted": 0, "n_stale": 0}


def test_training_runs_on_a_machine_that_has_torch_and_transformers_and_little_else(store: Path, tmp_path: Path) -> None:
    (start,), (dataset,) = (sorted(path.name for path in (store / kind).iterdir()) for kind in ("model", "dataset"))
    told = _recipe(store).training.model_dump() | {"language": "sv"}
    (tmp_path / "settings.json").write_text(json.dumps(told))
    absent = ("prefect", "pydantic", "jiwer", "evaluate", "datasets", "soundfile", "soxr", "av", "gradio")
    code = f"import runpy, sys; sys.modules.update(dict.fromkeys({absent})); runpy.run_module('tasks.model', run_name='__main__')"
    arguments = [str(store), start, dataset, str(tmp_path / "settings.json")]
    run = subprocess.run([sys.executable, "-c", code, *arguments], text=True, capture_output=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert "step 4 of 4" in run.stderr and "sealed" in run.stderr
    weights = {path.read_bytes() for path in (store / "checkpoint").glob("*/model-*.safetensors")}
    assert len(list((store / "checkpoint").iterdir())) == 2 and len(weights) == 1  # the same steps, the same weights


def test_a_training_begins_with_the_weights_of_an_earlier_one_and_nothing_else_of_it(store: Path) -> None:
    (key,) = (path.name for path in (store / "checkpoint").iterdir())
    policy.made.clear()
    retrain(read_recipe(TINY | {"model": {"kind": "trained", "checkpoint": key}, "store": str(store)}))
    published = {"verdict", "page", "staged", "published", "models"}
    assert set(made()) == {"model", "checkpoint", "predictions", "long", "report"} | published, "the data are those that it has"
    models = [load(Store(str(store)), "model", path.name) for path in (store / "model").iterdir()]
    (warm,) = (each for each in models if each.facts["name"] == f"checkpoint {key}")
    before = load(Store(str(store)), "checkpoint", key)
    assert warm.file("model.safetensors") == before.file("model.safetensors"), "shared, not copied"
    trained = {path.name for path in (store / "checkpoint").iterdir()} - {key}
    assert load(Store(str(store)), "checkpoint", trained.pop()).facts["steps"] == 4, "it began at step 0"


def test_the_whole_chain_runs_on_a_store_that_is_no_folder() -> None:
    recipe = read_recipe(TINY | {"store": "memory://bucket/viska"})
    for expected in (ALL, {}):
        policy.made.clear()
        model, demo, _ = retrain(recipe)
        assert made() == expected
    store = Store("memory://bucket/viska")
    latest = json.loads(store.read("models/whisper-viska/latest.json"))
    assert model == f"memory://bucket/viska/models/whisper-viska/{latest['revision']}"
    assert "config.json" in latest["files"] and store.exists(f"models/whisper-viska/{latest['revision']}/model.safetensors")
    assert demo.startswith("memory://bucket/viska/spaces/")
