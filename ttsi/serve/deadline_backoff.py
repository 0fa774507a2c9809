"""Back-off after deadlines: where a key's adaptations all take too long, the base answers most of its requests at once.

Inputs: a worker's jobs with their outcomes. Outputs: whether the next request of a key is adapted, and lines in the
log. There is no clock: `PATIENCE` deadlines in a row skip one request, each further one twice as many as before, at
most `MOST_SKIPPED`. So adaptation is tried again and again, and one that ends in time brings back all. A deadline that
the client itself set earlier (X-TTSI-Seconds) does not count. Each key has its own count, since no request may change
the answer to another key.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from ttsi.plurals import with_noun
from ttsi.serve.api_keys import LOCAL
from ttsi.serve.pipe import AnswerJob, Outcome
from ttsi.types import Adaptation

log = logging.getLogger(__name__)

DEADLINE = "deadline"
"""The fallback of a request whose adaptation took too long."""
NOT_TRIED = "not-tried"
"""The fallback of a request that was not adapted because its key's adaptations took too long: nothing failed."""
PATIENCE = 3
"""Deadlines in a row before requests are skipped."""
DOUBLINGS = 6
MOST_SKIPPED = 2**DOUBLINGS
"""Most requests between two attempts."""
LOG_EVERY = 10
"""Adaptations that a line of the log counts."""
_UNTRAINED = {"none", "library", "reused"}
"""Statuses that say nothing about how long an adaptation takes."""


@dataclass
class _KeyDeadlines:
    """The deadlines of one key."""

    in_a_row: int = 0
    to_skip: int = 0

    def add(self) -> None:
        self.in_a_row += 1
        beyond = self.in_a_row - PATIENCE
        self.to_skip = 0 if beyond < 0 else 2 ** min(beyond, DOUBLINGS)


class DeadlineBackoff:
    """The deadlines of all keys in one worker; used by one thread."""

    def __init__(self) -> None:
        self._keys: dict[str, _KeyDeadlines] = {}
        self._adaptations = self._late = self._skipped = 0
        self._was_late = False

    def skip(self, tenant: str) -> int:
        """Take a request of this key: 0 where it may be adapted, else how many deadlines in a row speak against it."""
        key = self._keys.get(tenant)
        if key is None or not key.to_skip:
            return 0
        key.to_skip -= 1
        self._skipped += 1
        return key.in_a_row

    def add(self, job: AnswerJob, outcome: Outcome) -> None:
        """Take account of a job that was not skipped."""
        is_own = job.options.adapt_seconds is not None and job.options.adapt_seconds <= job.adapt_seconds
        trained = any(episode.adaptation.status not in _UNTRAINED for episode in outcome.episodes)
        if outcome.fallback == DEADLINE and not is_own:
            self._add_deadline(job, outcome)
        elif outcome.fallback is None and trained:
            self._add_success(job)

    def _add_deadline(self, job: AnswerJob, outcome: Outcome) -> None:
        key = self._keys.setdefault(job.tenant, _KeyDeadlines())
        key.add()
        if not self._was_late:
            self._was_late = True
            reasons = [episode.adaptation.reason for episode in outcome.episodes if episode.adaptation.failed]
            log.warning("an adaptation hit %s (%s), so the base answered: %s", _limit(job), *reasons[:1], ADVICE)
        if key.in_a_row == PATIENCE:
            log.warning(
                "the last %d adaptations%s all hit %s: until one ends in time, the base answers most requests at once, "
                "and adaptation is tried at least once in %d",
                PATIENCE, "" if job.tenant == LOCAL else " of a key", _limit(job), MOST_SKIPPED + 1,
            )  # fmt: skip
        self._count(job, late=True)

    def _add_success(self, job: AnswerJob) -> None:
        key = self._keys.pop(job.tenant, None)
        if key is not None and key.in_a_row >= PATIENCE:
            log.warning("an adaptation ended within %s: no request is skipped any more", _limit(job))
        self._count(job, late=False)

    def _count(self, job: AnswerJob, late: bool) -> None:
        self._adaptations += 1
        self._late += late
        if self._adaptations < LOG_EVERY:
            return
        if self._late:
            requests = with_noun(self._skipped, "request was", "requests were")
            skipped = f", and {requests} not tried" if self._skipped else ""
            log.warning(
                "%d of the last %d adaptations hit %s%s: %s", self._late, LOG_EVERY, _limit(job), skipped, ADVICE
            )
        self._adaptations = self._late = self._skipped = 0


ADVICE = "raise it, lower --synthesis.k, or prepare an adapter (ttsi library prepare)"


def _limit(job: AnswerJob) -> str:
    return f"--limits.adapt-seconds {job.adapt_seconds:g}"


def without_adaptation(job: AnswerJob) -> AnswerJob:
    """The job, which the base answers at once."""
    return job.model_copy(update={"config": replace(job.config, adapt=False)})


def not_tried(outcome: Outcome, deadlines: int) -> Outcome:
    """The outcome of such a job, which says why."""
    if outcome.state != "answered":
        return outcome
    reason = f"deadline: not tried, the last {with_noun(deadlines, 'adaptation')} took too long"
    episodes = tuple(replace(one, adaptation=Adaptation("none", reason=reason)) for one in outcome.episodes)
    return outcome.model_copy(update={"episodes": episodes, "fallback": NOT_TRIED})
