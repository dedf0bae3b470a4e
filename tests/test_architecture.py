"""The house rule, held by reading the imports: flows -> verbs -> nouns, one door to the stores, no name that belongs to a library."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.parse import parsed

ROOT = Path(__file__).parents[1]
TAKEN = set("evaluate datasets torch transformers prefect gradio docker fsspec jiwer types logging io".split())
STORES = {"fsspec", "gcsfs", "s3fs"}
COMMAND_LINE = {"__init__", "__main__", "commands", "deploy", "flags", "foresight", "run", "server"}  # files in flows/ that are no flows
UNSAFE = {"trust_remote_code", "pickle"}


def faults(root: Path) -> list[str]:
    """Return what breaks the rule below `root`, as `file: what`."""
    verbs = {f"tasks.{file.stem}" for file in root.glob("tasks/*.py")}
    packages = [file for top in ("docker", "deployments", "tests") for file in root.glob(f"{top}/**/__init__.py")]
    found = [f"{file.relative_to(root)}: makes a package" for file in packages]
    for file in sorted([*root.glob("*.py"), *root.glob("flows/**/*.py"), *root.glob("tasks/**/*.py")]):
        path = file.relative_to(root)
        tree = parsed(file.read_text(encoding="utf-8"))
        found += [f"{path}: {what}" for what in [*_names(path), *_imports(path, tree, verbs), *_words(path, tree)]]
    return found


def _names(path: Path) -> Iterator[str]:
    yield from (f"takes the name {name}" for name in sorted(TAKEN.intersection(path.with_suffix("").parts)))


def _imports(path: Path, tree: ast.AST, verbs: set[str]) -> Iterator[str]:
    is_task, is_store = path.parts[0] == "tasks", path.parts[:2] == ("tasks", "store")
    is_noun = is_task and len(path.parts) > 2
    for name in sorted(set(_modules(path, tree))):
        top = name.split(".")[0]
        if is_noun and (top.startswith("prefect") or name in verbs):
            yield f"a noun imports {name}"
        if is_task and top == "flows":
            yield f"a task imports {name}"
        if top in STORES and not is_store:
            yield f"imports {name} beside the store"


def _modules(path: Path, tree: ast.AST) -> Iterator[str]:
    """Yield every module that is imported, also inside functions; of `from a import b` both a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            base = ".".join([*path.parts[: len(path.parts) - node.level if node.level else 0], *filter(None, [node.module])])
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))


def _words(path: Path, tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if path.parts[0] == "flows" and path.stem not in COMMAND_LINE and isinstance(node, ast.For | ast.AsyncFor | ast.While):
            yield f"line {node.lineno}: a loop in a table of contents"
        words = {word for _, value in ast.iter_fields(node) if isinstance(value, str) for word in value.split(".")}
        yield from (f"uses {word}" for word in sorted(words & UNSAFE))  # names, keywords, imports, keys; no docstring is that word alone


def test_the_house_rule_holds() -> None:
    assert len(list(ROOT.glob("tasks/**/*.py"))) > 20, "nothing was read"
    assert faults(ROOT) == []


@pytest.mark.parametrize(("file", "code", "fault"), [
    ("tasks/audio/decode.py", "import prefect.states", "a noun imports prefect.states"),
    ("tasks/audio/decode.py", "def f():\n    from prefect_dask import DaskTaskRunner", "a noun imports prefect_dask"),
    ("tasks/audio/a.py", "from tasks import train", "imports tasks.train"), ("tasks/audio/a.py", "from ..train import fit", "tasks.train"),
    ("tasks/audio/decode.py", "import flows.retrain", "a task imports flows.retrain"),
    ("tasks/train.py", "from flows import retrain", "a task imports flows"), ("tasks/hub/upload.py", "import gcsfs", "imports gcsfs"),
    ("flows/retrain.py", "from fsspec.core import url_to_fs", "imports fsspec.core beside the store"),
    ("flows/evaluate.py", "", "takes the name evaluate"), ("tasks/docker/build.py", "", "takes the name docker"),
    ("io.py", "", "takes the name io"), ("docker/__init__.py", "", "makes a package"),
    ("tests/tasks/__init__.py", "", "makes a package"), ("deployments/a/b/__init__.py", "", "makes a package"),
    ("tasks/model/load.py", "load(name, trust_remote_code=False)", "uses trust_remote_code"),
    ("tasks/model/load.py", "options = {'trust_remote_code': True}", "uses trust_remote_code"),
    ("tasks/model/load.py", "from pickle import loads", "uses pickle"), ("tasks/train.py", "torch.pickle.loads(x)", "uses pickle"),
    ("flows/retrain.py", "def f():\n    for x in y:\n        pass", "a loop"), ("flows/retrain.py", "while True:\n    pass", "a loop"),
])  # fmt: skip
def test_each_fault_is_found(tmp_path: Path, file: str, code: str, fault: str) -> None:
    for name, text in {"tasks/train.py": "import prefect", "tasks/store/objects.py": "'''No pickle.'''\nimport fsspec", file: code}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert any(each.startswith(f"{file}: ") and fault in each for each in faults(tmp_path)), faults(tmp_path)
    (tmp_path / file).unlink()
    assert faults(tmp_path) == []
