"""The outcomes that end a call, an item or a run, sorted once at the edge and never again."""

from __future__ import annotations


class CallsheetError(Exception):
    """Base of every error that Callsheet raises on purpose.

    Attributes:
        maybe_billed: Whether the call may have been billed although nobody knows: it counts at its estimate.
        usd: What the call cost that ended in this error, where that is known.
        maybe_created: Whether a remote job may have come to be although its creation ended in this error; None when nobody looked.
    """

    usd: float | None = None
    maybe_billed = False
    maybe_created: bool | None = None


class UserError(CallsheetError):
    """The person must change something first: printed without a traceback, exit 2."""


class MisconfiguredRun(UserError):
    """Found out while items run, and true of all of them (a price that is unknown): the run stops, exit 2."""


class ItemError(CallsheetError):
    """This item fails; the others go on.

    Attributes:
        job_usd: What the remote job cost that ended with this error (its id is of no more use); None where the error ended none.
        job_first: Whether its estimate was counted in this run and has not been corrected yet.
    """

    job_usd: float | None = None
    job_first = True


class Transient(ItemError):
    """May work when tried again: time-outs, 408, 409, 5xx, rate limits.

    Args:
        message: What happened.
        retry_after: Seconds that the server asked to wait, if it did.
        throttled: True when the server said that calls come too fast, so that concurrency shrinks.
        maybe_billed: True when the request was sent and no answer came (a time-out): it counts at its estimate.
    """

    def __init__(
        self, message: str, *, retry_after: float | None = None, throttled: bool = False, maybe_billed: bool = False
    ) -> None:
        super().__init__(message)
        self.maybe_billed = maybe_billed
        self.retry_after = retry_after
        self.throttled = throttled


class BadAnswer(ItemError):
    """The answer came and is nonsense (not JSON, cut off, not of the schema): asked again a bounded number of times."""


class Refused(ItemError):
    """The provider declined for this content; the text is its reason. Never retried."""


class RunStopped(CallsheetError):
    """No further call can work or may be made: what is done is kept, the line that resumes is printed, exit 3."""


class ProviderStopped(RunStopped):
    """Quota, spend limit or a bad key."""


class BudgetReached(RunStopped):
    """The run's dollar or call budget does not cover the next call."""


class DiskFailed(RunStopped):
    """A file can't be read or written, and others won't fare better or are half done: full, read-only, broken."""

    @classmethod
    def at(cls, error: OSError) -> DiskFailed:
        """From what the system said, naming the file."""
        return cls(f"{error.filename or 'a file'}: {error.strerror or error}")


class Interrupted(CallsheetError):
    """Ctrl+C or SIGTERM: exit 130."""


class Outlasted(Interrupted):
    """Interrupted, and items still work after the grace: only the end of the process ends them, and nothing is let go before."""
