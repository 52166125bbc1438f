"""Every error that cloudseed raises on purpose.

    CloudseedError                      exit code 1
    ├── UsageError                      exit code 2: what the user gave cannot be used
    │   ├── SpecError                   a campaign file
    │   ├── ObjectiveError              an objective or a constraint
    │   ├── UnitError                   an unknown or incompatible unit
    │   ├── InputError                  a file or a table
    │   │   └── StructureError          a crystal structure
    │   ├── ScopeError                  a SCOPE string, with the offending token
    │   └── EmptyPoolError              no candidate left to choose from
    ├── EncoderError                    a checkpoint, tokenizer or embedding
    ├── FitError                        a surrogate that could not be fitted
    ├── LabError                        a lab that cannot be reached or configured
    ├── LedgerError                     the database
    │   ├── SchemaError                 another schema version than this program's
    │   ├── StorageError                a full disk, a read-only folder, a lost connection
    │   ├── CampaignRunningError        another engine drives this campaign
    │   ├── StaleWorkerError            a write by an engine that lost its claim
    │   └── TransitionError             an illegal change of state
    ├── PluginError                     a proposer or filter that failed
    └── MissingDependencyError          an optional extra that is not installed

Each carries a one-sentence message, a `hint` that says what to do, and the data it was raised with.
"""

from typing import Any

__all__ = [
    "CampaignRunningError",
    "CloudseedError",
    "EmptyPoolError",
    "EncoderError",
    "FitError",
    "InputError",
    "LabError",
    "LedgerError",
    "MissingDependencyError",
    "ObjectiveError",
    "PluginError",
    "SchemaError",
    "ScopeError",
    "SpecError",
    "StaleWorkerError",
    "StorageError",
    "StructureError",
    "TransitionError",
    "UnitError",
    "UsageError",
]


class CloudseedError(Exception):
    """The root of the tree.

    Args:
        message: What is wrong, in one sentence.
        hint: What the reader can do about it.
        data: What the error is about, for programs: paths, keys, tokens, values.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.hint, self.data)


def _rebuild(
    kind: type[CloudseedError], message: str, hint: str, data: dict[str, Any]
) -> CloudseedError:
    return kind(message, hint=hint, **data)


class UsageError(CloudseedError):
    """What the user gave cannot be used."""

    exit_code = 2


class SpecError(UsageError):
    """A campaign file that is misspelt, incomplete or contradictory."""


class ObjectiveError(UsageError):
    """An objective or a constraint that cannot be parsed, measured or met."""


class UnitError(UsageError):
    """A unit that is unknown, or that does not fit its property."""


class InputError(UsageError):
    """A file or table that is missing, broken or lacks a column."""


class StructureError(InputError):
    """A crystal structure that cannot be used: disordered, overlapping, unreadable, too large."""


class ScopeError(UsageError):
    """A SCOPE string that does not parse; `data["token"]` names the offender."""


class EmptyPoolError(UsageError):
    """No candidate is left to choose from."""


class EncoderError(CloudseedError):
    """A checkpoint, tokenizer or embedding that cannot be used."""


class FitError(CloudseedError):
    """A surrogate that could not be fitted."""


class LabError(CloudseedError):
    """A lab that cannot be reached or is wrongly configured."""


class LedgerError(CloudseedError):
    """Something about the database."""


class SchemaError(LedgerError):
    """The database has another schema version than this program."""


class StorageError(LedgerError):
    """The database cannot be written or reached: full disk, read-only folder, lost connection."""


class CampaignRunningError(LedgerError):
    """Another engine drives this campaign."""


class StaleWorkerError(LedgerError):
    """An engine that lost its claim tried to write."""


class TransitionError(LedgerError):
    """An illegal change of state was asked for."""


class PluginError(CloudseedError):
    """A proposer or filter that failed; the message names it."""


class MissingDependencyError(CloudseedError):
    """An optional dependency is not installed; the hint gives the pip command."""
