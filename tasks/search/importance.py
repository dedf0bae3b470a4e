"""How much each field decides whether a setting is among the better ones, estimated by Optuna from the trials there are.

PED-ANOVA (Watanabe et al., IJCAI 2023): how differently a field's values lie among the better settings and among all. It sees each field
by itself, not two that only count together, and it knows only what was tried: where a search stayed near one value, that field looks
unimportant. With few settings chance alone gives large numbers: dev WERs are shuffled too, to say which of them chance can give.
"""

import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from tasks.search.scale import Scale, scales, values_of
from tasks.search.space import name

optuna.logging.set_verbosity(optuna.logging.WARNING)

FEWEST = 4  # settings that came to their end; with fewer nothing is estimated
BETTER = 0.5  # of all settings are the better ones; if so many came to their end
SHUFFLES, CHANCE = 100, 0.05  # of the shuffles that may give as much, all fields together
LATE = 1000.0  # added to a dev WER of what was ended early: worse than all others, which is why it ended


@dataclass(frozen=True)
class Weight:
    """How much one field decides."""

    field: str
    share: float  # of what all fields decide together
    is_beyond_chance: bool  # shuffled dev WERs give it as much so seldom that of twenty searches without any effect one names a field


def importances(result: Mapping[str, Any]) -> list[Weight] | None:
    """Return the weight of each field, the largest first; None where there are too few settings or fields to tell.

    Settings count once, with the mean of their seeds. What was ended early counts as worse than all that came to their end; what failed,
    or lacks a value, does not count.
    """
    axes = scales(result)
    rows = [(values_of(result, each), each["state"] == "complete", each["dev_wer"]) for each in result["places"]]
    rows = [row for row in rows if row[2] is not None and set(axes) <= set(row[0])]
    finished = [wer for _, is_complete, wer in rows if is_complete]
    if len(axes) < 2 or len(finished) < FEWEST or len(set(finished)) < 2:
        return None
    points = [
        {field: values[field] if _is_range(axis, len(rows)) else name(values[field]) for field, axis in axes.items()}
        for values, _, _ in rows
    ]
    wers = [wer if is_complete else LATE + wer for _, is_complete, wer in rows]
    better = min(BETTER, len(finished) / len(rows))
    study = _study(axes, points)
    found = _weigh(study, list(axes), wers, better)
    if not (whole := sum(found.values())):
        return None
    draw = random.Random(0)
    chances = [_weigh(study, list(axes), draw.sample(wers, len(wers)), better) for _ in range(SHUFFLES)]
    as_much = {field: sum(each[field] >= found[field] for each in chances) for field in axes}
    weights = [Weight(field, found[field] / whole, as_much[field] <= CHANCE * SHUFFLES / len(axes)) for field in axes]
    return sorted(weights, key=lambda each: -each.share)


def _study(axes: Mapping[str, Scale], points: Sequence[dict[str, Any]]) -> optuna.Study:
    """Return a study in memory with these points, in order; their values are told by `_weigh`."""
    spaces = {field: _space(axis, len(points)) for field, axis in axes.items()}
    study = optuna.create_study(direction="minimize")
    study.add_trials([optuna.create_trial(params=point, distributions=spaces, value=0.0) for point in points])
    return study


def _weigh(study: optuna.Study, fields: list[str], wers: Sequence[float], better: float) -> dict[str, float]:
    """Return what each field decides, by itself and not as a share, if these are the dev WERs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # `normalize` may change; a test would show it
        warnings.filterwarnings("ignore", "Target and region quantiles")  # with many equal dev WERs; then all are zero
        warnings.filterwarnings("ignore", "PedAnova.* computes the importances of params to achieve low")  # as we want
        return get_param_importances(
            study,
            evaluator=PedAnovaImportanceEvaluator(target_quantile=better),
            params=fields,
            target=lambda trial: wers[trial.number],
            normalize=False,
        )


def _space(axis: Scale, n_settings: int) -> BaseDistribution:
    """Return a field's values as Optuna knows them: few numbers, each of several settings, are categories, as listed ones are."""
    low, high = axis.values[0], axis.values[-1]
    if not _is_range(axis, n_settings):
        return CategoricalDistribution([name(value) for value in axis.values])
    if all(isinstance(value, int) for value in axis.values):
        return IntDistribution(low, high, log=axis.kind == "log")
    return FloatDistribution(low, high, log=axis.kind == "log")


def _is_range(axis: Scale, n_settings: int) -> bool:
    return axis.kind != "categories" and 2 * len(axis.values) > n_settings
