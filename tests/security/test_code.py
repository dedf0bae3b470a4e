"""S1, S5: nothing in our code runs what it reads. Held by reading the code, because one careless call is enough."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.parse import parsed

ROOT = Path(__file__).parents[2]
MODULES = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}  # what they read can be code
BUILTINS = {"eval", "exec", "compile", "__import__"}
NEVER = {  # by the name that is called, of whatever it is an attribute
    "unsafe_load", "full_load", "load_all", "read_pickle", "to_pickle", "extractall", "unpack_archive", "mktemp", "popen", "system",
    "getoutput", "getstatusoutput",
}  # fmt: skip
ARGUMENTS = {  # that may be given, and how
    "shell": False, "allow_pickle": False, "weights_only": True, "use_safetensors": True, "verify": True, "share": False,
    "persist_result": False, "autoescape": True,
}  # fmt: skip
NEEDED = {  # calls that are unsafe if they are not told so
    ("torch", "load"): ("weights_only", True), ("np", "load"): ("allow_pickle", False), ("numpy", "load"): ("allow_pickle", False),
    ("WhisperForConditionalGeneration", "from_pretrained"): ("use_safetensors", True),
}  # fmt: skip


def faults(root: Path) -> list[str]:
    """Return what is unsafe below `root`, as `file:line: what`."""
    found = []
    for file in sorted([*root.glob("flows/**/*.py"), *root.glob("tasks/**/*.py")]):
        for node in ast.walk(parsed(file.read_text(encoding="utf-8"))):
            found += [f"{file.relative_to(root)}:{node.lineno}: {what}" for what in _of(node)]  # type: ignore[attr-defined]  # has a line
    return found


def _of(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (f"imports {each.name}" for each in node.names if each.name.split(".")[0] in MODULES)
    if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
        yield f"imports {node.module}"
    if isinstance(node, ast.Attribute) and node.attr in MODULES:
        yield f"uses {node.attr}"
    if isinstance(node, ast.Call):
        yield from _of_call(node)


def _of_call(node: ast.Call) -> Iterator[str]:
    owner, name = "", ""
    if isinstance(node.func, ast.Name):
        name = node.func.id
        if name in BUILTINS:
            yield f"calls {name}"
    if isinstance(node.func, ast.Attribute):
        name = node.func.attr
        owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
    if name in NEVER or (owner, name) == ("yaml", "load"):
        yield f"calls {name}"
    told = {each.arg: each.value.value if isinstance(each.value, ast.Constant) else "..." for each in node.keywords}
    yield from (f"{name}({key}={told[key]})" for key, safe in ARGUMENTS.items() if key in told and told[key] is not safe)
    if (owner, name) in NEEDED:
        key, safe = NEEDED[owner, name]
        if told.get(key) is not safe:
            yield f"{owner}.{name} without {key}={safe}"


def test_no_call_runs_what_it_reads() -> None:
    assert len(list(ROOT.glob("tasks/**/*.py"))) > 100, "nothing was read"
    assert faults(ROOT) == []


FAULTS = {
    "import pickle": "imports pickle",
    "def f():\n    from joblib import load": "imports joblib",
    "import marshal as m": "imports marshal",
    "torch.serialization.pickle.loads(x)": "uses pickle",
    "torch.load(path)": "torch.load without weights_only=True",
    "torch.load(path, weights_only=False)": "load(weights_only=False)",
    "torch.load(path, weights_only=safe)": "load(weights_only=...)",
    "np.load(path)": "np.load without allow_pickle=False",
    "np.load(path, allow_pickle=True)": "load(allow_pickle=True)",
    "yaml.load(text, Loader=yaml.Loader)": "calls load",
    "yaml.unsafe_load(text)": "calls unsafe_load",
    "eval(text)": "calls eval",
    "exec(text)": "calls exec",
    "subprocess.run(line, shell=True)": "run(shell=True)",
    "os.system(line)": "calls system",
    "WhisperForConditionalGeneration.from_pretrained(x)": "from_pretrained without use_safetensors=True",
    "tar.extractall(folder)": "calls extractall",
    "httpx.get(url, verify=False)": "get(verify=False)",
    "page.launch(share=True)": "launch(share=True)",
    "@flow(persist_result=True)\ndef f(): ...": "flow(persist_result=True)",
    "Environment(autoescape=False)": "Environment(autoescape=False)",
}


@pytest.mark.parametrize("code", FAULTS)
def test_each_fault_is_found(tmp_path: Path, code: str) -> None:
    (tmp_path / "tasks" / "model").mkdir(parents=True)
    (tmp_path / "tasks" / "model" / "careless.py").write_text(f"model.eval()\nyaml.safe_load(text)\n{code}\n")
    found = faults(tmp_path)
    assert any(each.endswith(FAULTS[code]) for each in found), found
    assert all(each.startswith(("tasks/model/careless.py:3: ", "tasks/model/careless.py:4: ")) for each in found), (
        "the lines before are fine"
    )
