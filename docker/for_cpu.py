"""Print the requirements of the image without a GPU, read from requirements.txt.

PyPI's torch for Linux is the CUDA build. It loads most of NVIDIA's libraries when it is imported, also where there is no GPU, so only what
it does not load is left out: Triton, which compiles for GPUs, and headers. With a CPU build of the same version, whose address and hash
are given, all of it can go.

    python for_cpu.py requirements.txt [https://.../torch-2.15.0+cpu-....whl#sha256=...]
"""

import re
import sys
from pathlib import Path

NEVER_LOADED = re.compile(r"triton|nvidia-(cuda-cccl|nvtx)|cuda-toolkit")
FOR_CUDA = re.compile(r"triton|nvidia-.*|cuda-.*")
PINNED = re.compile(r".+/torch-(?P<version>[\d.]+)(\+|%2B)?[^/]*\.whl#sha256=[0-9a-f]{64}")


def for_cpu(requirements: str, torch: str = "") -> str:
    """Return the requirements that a machine without a GPU needs, hashes and all.

    Args:
        requirements: a file that pip accepts with --require-hashes; each entry begins at the margin.
        torch: address of a wheel with a CPU build, with `#sha256=...`; empty: take the one in the file.

    Raises:
        ValueError: if the address carries no hash, or another version than the file's.
    """
    entries = re.findall(r"^\S.*(?:\n[ \t].*)*\n?", requirements, re.MULTILINE)
    named = [(re.split(r"[=\s;]", entry, maxsplit=1)[0].lower(), entry) for entry in entries]
    unwanted = FOR_CUDA if torch else NEVER_LOADED
    kept = [(name, entry) for name, entry in named if not unwanted.fullmatch(name)]
    if not torch:
        return "".join(entry for _, entry in kept)
    wanted = next(re.split(r"==|\s", entry)[1] for name, entry in named if name == "torch")
    if not (given := PINNED.fullmatch(torch)) or given["version"] != wanted:
        raise ValueError(f"TORCH: got {torch!r}, expected the address of a wheel of torch {wanted} that ends in #sha256=...")
    return "".join(f"torch @ {torch}\n" if name == "torch" else entry for name, entry in kept)


if __name__ == "__main__":
    print(for_cpu(Path(sys.argv[1]).read_text(), *sys.argv[2:]), end="")
