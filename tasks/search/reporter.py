"""What a trial tells its search while it trains, and when it is told to end."""

import math
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from tasks.contracts.errors import Pruned
from tasks.model.loop import Moment


class Reporter:
    """Tells the study what a trial's looks saw; a watcher for `fit`."""

    def __init__(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self.trial, self.known, self.seconds = optuna.trial.Trial(study, trial._trial_id), set(trial.intermediate_values), 0.0
        # The recipe as it is, and repeats, come to their end: they are what others are measured by.
        self.may_end = "repeats" not in trial.user_attrs and bool(trial.user_attrs["values"])

    def __call__(self, moment: Moment) -> None:
        """Report a look.

        Raises:
            Pruned: if the trial is to end here.
        """
        self.seconds = moment.seconds
        if not moment.look or not self._report(moment.look):
            return
        if self.may_end and moment.step < moment.steps and self.trial.should_prune():
            raise Pruned(f"ended early at step {moment.step}: dev WER {100 * moment.look['dev_wer']:.1f} %, others were better there")

    def fill(self, looks: Sequence[dict[str, Any]]) -> None:
        """Report the looks that are not reported yet: a training that is found done has none."""
        for look in looks:
            self._report(look)

    def _report(self, look: dict[str, Any]) -> bool:
        step, wer = look["step"], look["dev_wer"]
        if not step or step in self.known or not math.isfinite(wer):
            return False
        self.known.add(step)
        self.trial.report(wer, step)
        return True
