"""The packages that exports need, and most installations do without."""

from importlib import import_module
from typing import Any

from tasks.contracts.errors import ModelError


def load(module: str, package: str) -> Any:
    """Return a module of an optional package.

    Raises:
        ModelError: if it is not installed, with what to do.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ModelError(f"{package} is not installed, and this export needs it: pip install 'viska[exports]', or leave it out") from error
