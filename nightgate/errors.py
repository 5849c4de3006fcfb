"""Every error that Nightgate raises on purpose, as a tree by who must act.

NightgateError
├── UsageError            whoever typed the command            exit 2
│   └── FileMissing       a file or object that is not there   exit 2
├── DefinitionError       the model's author                   exit 2
├── SuiteError            the contract's author                exit 2
├── DataUnusable          the data's owner                     exit 3
│   ├── ContractBroken    a gate stopped the run               exit 3
│   └── LeakFound         a column gives the target away       exit 3
├── SourceUnavailable     nobody yet: the only one retried     exit 1
├── ModelBusy             another run holds the model          exit 1
├── NotNeeded             nobody: the night has its run        exit 0
├── NotVerified           a release did not verify             exit 1
└── StoreError            the installation's keeper            exit 1
"""

from typing import Any, ClassVar

LONGEST_MESSAGE = 4_000
"""Characters of an error's text: Prefect's state messages and a terminal stay readable."""


def bounded(text: str, limit: int = LONGEST_MESSAGE) -> str:
    """Cut a text to `limit` characters, saying how much was cut."""
    if len(text) <= limit:
        return text
    tail = f" … ({len(text)} characters in all)"
    return text[: limit - len(tail)] + tail


class NightgateError(Exception):
    """An error with a remedy: what broke, in what, how many, an example; then what to do."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, remedy: str = "", details: dict[str, Any] | None = None) -> None:
        self.message = bounded(message)
        self.remedy = bounded(remedy, 1_000)
        self.details = details or {}
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}" if self.remedy else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.remedy, self.details)

    @property
    def kind(self) -> str:
        return type(self).__name__

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints under `error`."""
        return {"kind": self.kind, "message": self.message, "remedy": self.remedy, **self.details}


def _rebuild(kind: type[NightgateError], message: str, remedy: str, details: dict[str, Any]) -> NightgateError:
    return kind(message, remedy=remedy, details=details)


class UsageError(NightgateError):
    """A command or argument that makes no sense."""

    exit_code = 2


class FileMissing(UsageError):
    """A file, folder or object that is not there."""


class DefinitionError(NightgateError):
    """One or more mistakes in a model's definition; `details["mistakes"]` lists them."""

    exit_code = 2


class SuiteError(NightgateError):
    """A suite file that cannot be understood; the message names the place in the file."""

    exit_code = 2


class DataUnusable(NightgateError):
    """Data that cannot be read or used at all."""

    exit_code = 3


class ContractBroken(DataUnusable):
    """A gate stopped the run; `details` holds the gate's result."""


class LeakFound(DataUnusable):
    """A feature gives the target away; `details["leaks"]` lists each with its evidence."""


class SourceUnavailable(NightgateError):
    """A source that did not answer: the only error that is retried."""


class ServerUnavailable(NightgateError):
    """Prefect's server does not answer, or did no longer."""


class NotNeeded(NightgateError):
    """A scheduled night that has its run, or that shall not be caught up."""

    exit_code = 0


class ModelBusy(NightgateError):
    """Another run holds the model."""


class NotVerified(NightgateError):
    """A release whose content is not what its manifest says."""


class StoreError(NightgateError):
    """The store or the registry cannot be read or written."""
