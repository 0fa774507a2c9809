"""What is counted, for Prometheus?

Inputs: what happened to requests. Outputs: the text of `/metrics`. Labels come from fixed lists, never from a client,
so that no request can make a new series.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ttsi.serve.pipe import Outcome

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


class Metrics:
    """One server's numbers."""

    def __init__(self) -> None:
        """All zero."""
        own = self._registry = CollectorRegistry()
        self.requests = Counter("ttsi_requests_total", "Answers by HTTP status.", ["status"], registry=own)
        self.seconds = Histogram(
            "ttsi_request_seconds", "Time from admission to the answer.", buckets=_SECONDS, registry=own
        )
        self.stage_seconds = Counter("ttsi_stage_seconds_total", "Worker time by stage.", ["stage"], registry=own)
        self.choices = Counter("ttsi_answers_total", "Answers by what adaptation did.", ["adaptation"], registry=own)
        self.fallbacks = Counter(
            "ttsi_fallbacks_total", "Base answers because adaptation failed, by stage.", ["stage"], registry=own
        )
        self.spent = Counter(
            "ttsi_budget_spent_total", "Base answers because the budget of adaptations was spent.", registry=own
        )
        self.late = Counter("ttsi_late_total", "Base answers because the turn came late.", registry=own)
        self.left = Counter("ttsi_disconnects_total", "Requests whose client left.", registry=own)
        self.restarts = Gauge("ttsi_worker_restarts", "How often the worker was replaced.", registry=own)
        self.waiting = Gauge("ttsi_requests_waiting", "Requests that wait for the worker.", registry=own)
        self.inside = Gauge("ttsi_requests_inside", "Requests that wait or are answered.", registry=own)
        self.ready = Gauge("ttsi_ready", "1 when requests are answered.", registry=own)

    def count(self, outcome: Outcome) -> None:
        """Book one outcome."""
        if outcome.fallback:
            self.fallbacks.labels(outcome.fallback).inc()
        self.stage_seconds.labels("base").inc(outcome.base_seconds)
        for episode in outcome.episodes:
            self.choices.labels(episode.adaptation.status).inc()
            for stage, seconds in episode.seconds.items():
                self.stage_seconds.labels(stage).inc(seconds)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)
