"""Several processes that train one model, one on each GPU: who this one is, and what they tell each other. Alone it is all trivial.

Started by torchrun (`python -m torch.distributed.run --nproc-per-node 2 -m tasks.model ...`), which says who is who in the environment.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")
PATIENCE = timedelta(hours=2)  # in which the others wait for process 0, which waits for the store


@contextmanager
def team() -> Iterator[str]:
    """Join the processes that torchrun started, if it did, and give the device of this one."""
    cuda = torch.cuda.is_available()
    if "TORCHELASTIC_RUN_ID" not in os.environ or dist.is_initialized():
        yield "cuda" if cuda else "cpu"
        return
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    yield f"cuda:{os.environ['LOCAL_RANK']}" if cuda else "cpu"
    dist.destroy_process_group()  # not after an error: the others may be waiting for this one, and it for them; torchrun ends them


def rank() -> int:
    """Return the number of this process, from 0. Only 0 writes anything."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """Return how many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def add_up(values: torch.Tensor) -> torch.Tensor:
    """Return the sum over all processes, on the device, without waiting for it."""
    if world() > 1:
        dist.all_reduce(values)
    return values


def as_first_says(value: T) -> T:
    """Return what process 0 has here."""
    if world() == 1:
        return value
    told = [value]
    dist.broadcast_object_list(told)
    return told[0]
