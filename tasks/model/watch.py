"""What a person sees of a training on a terminal: a bar with step, loss, rate, clips a second, and the time that is left."""

from collections.abc import Callable
from types import TracebackType
from typing import Any

from tqdm import tqdm

from tasks.model.loop import Moment


class Bar:
    """A bar on the terminal; nothing where there is none."""

    def __init__(self) -> None:
        self.bar: Any = None

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, moment: Moment) -> None:
        """Show a moment."""
        if self.bar is None:
            self.bar = tqdm(total=moment.steps, initial=moment.step - 1, desc="train", unit="step", disable=None, leave=False)
        if moment.look:
            self.bar.set_postfix(loss=f"{moment.loss:.3f}", dev_wer=f"{moment.look['dev_wer']:.1%}")
        self.bar.update(moment.step - self.bar.n)


def all_of(*watchers: Callable[[Moment], None]) -> Callable[[Moment], None]:
    """Return a watcher that tells each of these."""

    def watch(moment: Moment) -> None:
        for each in watchers:
            each(moment)

    return watch


def describe(moment: Moment) -> dict[str, str]:
    """Return what is worth showing of a moment, as text by name."""
    rate = moment.n_clips / max(moment.trained, 1e-9)
    told = {
        "step": f"{moment.step:,} of {moment.steps:,}",
        "loss": f"{moment.loss:.4f}",
        "learning rate": f"{moment.learning_rate:.2e}",
        "clips a second": f"{rate:.1f}",
        "waiting for clips": f"{moment.stalled / max(moment.seconds, 1e-9):.1%} of the time",
        "left": _time(moment.left),
    }
    if moment.memory:
        most, whole = (each / 1e9 for each in moment.memory)
        told["GPU memory"] = f"{most:.1f} of {whole:.1f} GB at most"
    return told


def _time(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"
