"""Checkpoints on their way to the store while the training goes on.

The training waits for a copy in the machine's memory, never for the network: one copy, whose upload must end before the next is made, so
that a slow store makes checkpoints rarer and not the memory full.
"""

import copy
import logging
import threading
import time
from typing import Any

import torch

from tasks.contracts.errors import ViskaError
from tasks.model.checkpoint import State, save_checkpoint
from tasks.store.objects import Store

log = logging.getLogger(__name__)
DELAYS = (2, 10, 30, 60)  # seconds before an upload is tried again
GRACE = 20.0  # seconds in which a machine that is being taken away can store a checkpoint; Google's spot machines give 30


class Keeper:
    """Stores the states of one training.

    Args:
        store: where they go.
        run: the training's key.
        told: what decides the training, as JSON values.
        newest: how many stay, besides the best.
    """

    def __init__(self, store: Store, run: str, told: Any, newest: int) -> None:
        self.store, self.run, self.told, self.newest = store, run, told, newest
        self.copies: dict[str, torch.Tensor] = {}
        self.thread: threading.Thread | None = None
        self.error: BaseException | None = None

    def __call__(self, state: State, wait: bool = False) -> bool:
        """Store the state as it is now; wait for it only if told, and then not longer than GRACE. Return whether it is on the store.

        Raises:
            Exception: what the checkpoint before this one failed with, after several tries; not if told to wait.
        """
        until = time.monotonic() + GRACE
        if wait and not self._is_free(GRACE):
            return False
        if wait:  # what is kept last counts, whatever became of the one before
            self.error = None
        self.close()
        weights, moments = state.tensors()
        copies = {name: self._copy(f"weight {name}", tensor) for name, tensor in weights.items()}
        moments = {name: self._copy(f"moment {name}", tensor) for name, tensor in moments.items()}
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        progress = copy.deepcopy(state.progress)
        progress.scaler = state.scaler.state_dict()
        self.thread = threading.Thread(target=self._save, args=(copies, moments, progress), name="keeper", daemon=True)
        self.thread.start()
        return wait and self._is_free(until - time.monotonic()) and self.error is None

    @property
    def is_busy(self) -> bool:
        """Whether a checkpoint is on its way."""
        return bool(self.thread and self.thread.is_alive())

    def leave(self) -> None:
        """Wait for what is on its way, but not longer than GRACE; what went wrong with it matters no more."""
        self._is_free(GRACE)

    def close(self) -> None:
        """Wait until all is stored; raise what went wrong."""
        if self.thread:
            self.thread.join()
            self.thread = None
        if self.error:
            error, self.error = self.error, None
            raise error

    def _is_free(self, seconds: float) -> bool:
        if self.thread:
            self.thread.join(max(0.0, seconds))
        return not self.is_busy

    def _copy(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """Copy into memory of this machine that is used again each time."""
        if name not in self.copies:
            self.copies[name] = torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda, memory_format=torch.contiguous_format)
        return self.copies[name].copy_(tensor, non_blocking=True)

    def _save(self, weights: dict[str, torch.Tensor], moments: dict[str, torch.Tensor], progress: Any) -> None:
        for delay in (*DELAYS, None):
            try:
                save_checkpoint(self.store, self.run, weights, moments, progress, self.told, self.newest)
                return
            except Exception as error:  # it is raised in the thread that trains
                if delay is None or isinstance(error, ViskaError):
                    self.error = error
                    return
                log.warning("checkpoint %d: %s: %s; trying again in %d s", progress.step, type(error).__name__, error, delay)
                time.sleep(delay)
