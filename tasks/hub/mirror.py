"""The newest checkpoint of a training, also in a branch of a repository of the Hub. It is resumed from the store; this is for people."""

from tasks.hub.upload import publish
from tasks.model.aside import Aside
from tasks.model.checkpoint import whole_checkpoints
from tasks.model.loop import Moment
from tasks.store.objects import Store


class Mirror:
    """Copies what is on the store; a watcher for `fit`.

    Args:
        store: where the training keeps its checkpoints.
        run: the training's key.
        repository: owner/name.
    """

    def __init__(self, store: Store, run: str, repository: str) -> None:
        self.store, self.run, self.repository = store, run, repository
        self.aside = Aside(f"mirror of the checkpoints in {repository}", self._copy)

    def __enter__(self) -> "Mirror":
        return self

    def __exit__(self, *_: object) -> None:
        self.aside.close()

    def __call__(self, moment: Moment) -> None:
        """Copy what is there after each look; the look's own checkpoint may still be on its way, then it comes with the next."""
        if moment.look:
            self.aside.leave(moment.step)

    def _copy(self, _step: int) -> None:
        for checkpoint, folder in whole_checkpoints(self.store, self.run):
            message, branch = f"Step {checkpoint.facts['step']}", f"training-{self.run[:12]}"
            publish(self.repository, "model", folder, checkpoint.checksums, message=message, branch=branch)
            return
