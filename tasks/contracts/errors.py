"""What viska refuses, as one tree. Anything else that is raised is an accident, and accidents are retried.

    ViskaError
    ├── RecipeError      a setting is not understood, or two settings contradict each other
    ├── StoreError       an artifact is missing, damaged, or another one stands at its address
    ├── CorpusError      a corpus cannot be read as described, or nothing of it is left
    ├── AudioError       one recording cannot be used; caught per clip, and kept as a quarantine reason
    ├── ModelError       a model lacks a file, a token or a size that this corpus needs
    ├── TrainingError    a training cannot go on: a loss that is not a number, loss and WER that disagree
    │   └── Pruned       whoever watches it has ended it, because others of a sweep are better at the same step
    ├── ReleaseError     a page is incomplete or would be refused where it is going
    └── RunError         a run that this one waited for did not end well

A message says which object, what is wrong, what was got and expected, and what to do.
"""


class ViskaError(Exception):
    """Something viska refuses on purpose; trying again would be refused again."""


class RecipeError(ViskaError):
    """A setting is not understood, or two settings contradict each other."""


class StoreError(ViskaError):
    """An artifact is missing, damaged, or another one stands at its address."""


class CorpusError(ViskaError):
    """A corpus cannot be read as described, or nothing of it is left."""


class AudioError(ViskaError):
    """One recording cannot be used."""


class ModelError(ViskaError):
    """A model lacks a file, a token or a size that this corpus needs."""


class TrainingError(ViskaError):
    """A training cannot go on."""


class Pruned(TrainingError):
    """A training was ended early: other trials of its sweep were better at the same step."""


class ReleaseError(ViskaError):
    """A page is incomplete or would be refused where it is going."""


class RunError(ViskaError):
    """A run that this one waited for did not end well."""
