"""Python code as a tree, in a process in which other threads parse too."""

import ast
import gc


def parsed(code: str) -> ast.Module:
    """Parse with the collector off: in Python 3.11.7 it lets other threads in, and their parsing spoils ours (cpython issue 106905)."""
    gc.disable()
    try:
        return ast.parse(code)
    finally:
        gc.enable()
