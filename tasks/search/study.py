"""A search as Optuna's study in the store: what to try next, what came of it, and whether a trial may end early.

A trial that has neither ended nor failed was interrupted: it is done again under its number, and its training goes on from its checkpoint.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState

from tasks.contracts.recipe import Recipe
from tasks.contracts.search import Search
from tasks.search.journal import StoreJournal
from tasks.search.reporter import Reporter
from tasks.search.space import Values, grid, recipe_of, suggest
from tasks.store.objects import Store

optuna.logging.set_verbosity(optuna.logging.WARNING)

FOLDER = "searches"  # of the store: a log for each
FIRST = 4  # trials that end before others are measured against them


@dataclass(frozen=True)
class Wanted:
    """A trial that is to be done."""

    number: int
    values: Values  # by field of the recipe; none: the recipe as it is
    seed: int | None  # of its training; None: the recipe's


@dataclass(frozen=True)
class Tried:
    """A trial that has ended, or failed."""

    number: int
    values: Values
    seed: int
    repeats: int | None  # number of the trial that it repeats with another seed
    state: str  # complete, pruned or fail
    dev_wer: float | None  # the lowest of its looks
    looks: dict[int, float]  # dev WER by step
    seconds: float  # of training
    checkpoint: str  # key
    error: str


class Study:
    """One search; `name` is the fingerprint of all that decides its trials."""

    def __init__(self, store: Store, name: str, recipe: Recipe, search: Search) -> None:
        """Open it, or begin it: its first trial is the recipe as it is."""
        self.name, self.recipe, self.search = name, recipe, search
        storage = JournalStorage(StoreJournal(store, f"{FOLDER}/{name}"))
        self.study = optuna.create_study(study_name=name, storage=storage, direction="minimize", load_if_exists=True,
                                         pruner=_pruner(search))  # fmt: skip
        self.study.sampler = _sampler(search, len(self._trials()))
        if not self._trials():
            self.study.enqueue_trial({}, user_attrs={"values": {}})

    def firsts(self) -> Iterator[Wanted]:
        """Yield what is to be done, one by one, until the budget is spent: interrupted ones, then new ones."""
        for trial in self._trials(TrialState.RUNNING):
            if "values" in trial.user_attrs:
                yield _wanted(trial)
            else:
                self.give_up(trial.number, pruned=False, error="interrupted before it began")
        while self._trials(TrialState.WAITING) or (self._is_open() and self._next_point()):
            asked = self.study.ask()
            if "values" not in asked.user_attrs:
                asked.set_user_attr("values", suggest(asked, self.recipe, self.search.axes))
            yield _wanted(self._trial(asked.number))

    def repeats(self) -> Iterator[Wanted]:
        """Yield the best ones with other seeds, when all others have ended."""
        for number, seed in self._repeats():
            first = self._trial(number)
            self.study.enqueue_trial(first.params, user_attrs={"values": first.user_attrs["values"], "repeats": number, "seed": seed})
            yield _wanted(self._trial(self.study.ask().number))

    def watcher(self, number: int) -> Reporter:
        """Return what reports a trial's looks."""
        return Reporter(self.study, self._trial(number))

    def end(self, number: int, looks: Sequence[dict[str, Any]], dev_wer: float, **told: Any) -> None:
        """Note that a trial has ended well; `looks`: all it had, of which some may be reported."""
        self.watcher(number).fill(looks)
        self._note(number, told)
        self.study.tell(number, dev_wer)

    def give_up(self, number: int, pruned: bool, **told: Any) -> None:
        """Note that a trial was ended early or has failed, unless what became of it is noted already."""
        if self._trial(number).state == TrialState.RUNNING:
            self._note(number, told)
            self.study.tell(number, state=TrialState.PRUNED if pruned else TrialState.FAIL)

    def tried(self) -> list[Tried]:
        """Return the trials that have ended, the best first, those that were ended early or failed last."""
        ended = [each for each in self._trials(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL) if "values" in each.user_attrs]
        done = [_tried(each, self.recipe.training.seed) for each in ended]
        place = {"complete": 0, "pruned": 1, "fail": 2}
        return sorted(done, key=lambda each: (place[each.state], each.dev_wer or 0.0, each.number))

    def recipe_of(self, wanted: Wanted | Tried) -> Recipe:
        """Return the recipe of a trial."""
        return recipe_of(self.recipe, wanted.values, wanted.seed)

    def is_running(self, number: int) -> bool:
        """Return whether nothing is noted of how a trial ended."""
        return self._trial(number).state == TrialState.RUNNING

    def _is_open(self) -> bool:
        told = [each.user_attrs for each in self._trials() if each.state != TrialState.WAITING]
        firsts = [each for each in told if "values" in each and "repeats" not in each]
        return len(firsts) < self.search.trials and not self._is_spent()

    def _is_spent(self) -> bool:
        hours = sum(each.user_attrs.get("seconds", 0.0) * each.user_attrs.get("n_devices", 1) for each in self._trials()) / 3600
        return bool(self.search.gpu_hours) and hours >= self.search.gpu_hours

    def _next_point(self) -> bool:
        """Put the next point of a grid into line; say whether there is anything to try."""
        if self.search.method != "grid" or self._trials(TrialState.WAITING):
            return True
        tried = [each.params for each in self._trials()]
        point = next((each for each in grid(self.search.axes, self.search.seed) if each not in tried), None)
        if point:
            self.study.enqueue_trial(point)
        return point is not None

    def _repeats(self) -> Iterator[tuple[int, int]]:
        """Yield which trial is repeated with which seed: the recipe as it is, and the best others."""
        best, own = self.search.repeats.best, self.recipe.training.seed
        firsts = [each for each in self.tried() if each.state == "complete" and each.repeats is None]
        chosen = [each for each in firsts if not each.values] + [each for each in firsts if each.values][:best] if best else []
        for each in chosen:
            there = {again.seed for again in self.tried() if again.repeats == each.number}
            for seed in range(own + 1, own + 1 + self.search.repeats.seeds):
                if seed not in there and not self._is_spent():
                    yield each.number, seed

    def _note(self, number: int, told: dict[str, Any]) -> None:
        trial = optuna.trial.Trial(self.study, self._trial(number)._trial_id)
        for what, value in told.items():
            trial.set_user_attr(what, value)

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states or None)

    def _trial(self, number: int) -> FrozenTrial:
        return self._trials()[number]


def _wanted(trial: FrozenTrial) -> Wanted:
    return Wanted(trial.number, trial.user_attrs["values"], trial.user_attrs.get("seed"))


def _tried(trial: FrozenTrial, own: int) -> Tried:
    told, looks = trial.user_attrs, dict(sorted(trial.intermediate_values.items()))
    return Tried(
        trial.number, told.get("values", {}), told.get("seed", own), told.get("repeats"), trial.state.name.lower(),
        trial.value if trial.state == TrialState.COMPLETE else min(looks.values(), default=None), looks,
        told.get("seconds", 0.0), told.get("checkpoint", ""), told.get("error", ""),
    )  # fmt: skip


def _sampler(search: Search, n_trials: int) -> BaseSampler:
    """Return what chooses; a search that goes on must not draw again what it drew first."""
    seed = search.seed + n_trials
    if search.method != "tpe":
        return RandomSampler(seed=seed)
    at_random = min(10, max(FIRST, search.trials // 3))  # Optuna's ten would be all of a small search
    return TPESampler(seed=seed, n_startup_trials=at_random, constant_liar=search.at_once > 1)


def _pruner(search: Search) -> BasePruner:
    if search.pruning == "none":
        return NopPruner()
    return MedianPruner(n_startup_trials=FIRST) if search.pruning == "median" else SuccessiveHalvingPruner()
