"""Counters, gauges and histograms for Prometheus.

Inputs: the outcomes of requests. Outputs: the text of `/metrics`. Label values come from fixed lists, never from a
client, so no request can create a new time series.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ttsi.serve.pipe import Outcome

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        own = self._registry = CollectorRegistry()
        self.requests = Counter("ttsi_requests_total", "Responses by HTTP status.", ["status"], registry=own)
        self.seconds = Histogram(
            "ttsi_request_seconds", "Time from the start of the turn to the answer.", buckets=_SECONDS, registry=own
        )
        self.stage_seconds = Counter("ttsi_stage_seconds_total", "Worker time by stage.", ["stage"], registry=own)
        self.choices = Counter(
            "ttsi_answers_total", "Choices by the status of their adaptation.", ["adaptation"], registry=own
        )
        self.fallbacks = Counter(
            "ttsi_fallbacks_total",
            "Answers by the base because adaptation failed or was not tried.",
            ["stage"],
            registry=own,
        )
        self.turn_adapters = Counter(
            "ttsi_turn_adapters_total", "Choices by an adapter of an earlier step of the turn.", registry=own
        )
        self.spent = Counter(
            "ttsi_budget_spent_total", "Answers by the base because the adaptation budget was spent.", registry=own
        )
        self.late = Counter("ttsi_late_total", "Answers by the base because the turn came late.", registry=own)
        self.disconnects = Counter("ttsi_disconnects_total", "Requests whose client disconnected.", registry=own)
        self.restarts = Gauge("ttsi_worker_restarts", "Restarts of the worker.", registry=own)
        self.waiting = Gauge("ttsi_requests_waiting", "Requests that wait for the worker.", registry=own)
        self.inside = Gauge("ttsi_requests_inside", "Requests that wait or are running.", registry=own)
        self.ready = Gauge("ttsi_ready", "1 when requests can be answered, else 0.", registry=own)

    def count(self, outcome: Outcome) -> None:
        """Count one outcome."""
        if outcome.fallback:
            self.fallbacks.labels(outcome.fallback).inc()
        self.stage_seconds.labels("base").inc(outcome.base_seconds)
        for episode in outcome.episodes:
            self.choices.labels(episode.adaptation.status).inc()
            if episode.adaptation.status == "reused" and not episode.adaptation.refused:
                self.turn_adapters.inc()
            for stage, seconds in episode.seconds.items():
                self.stage_seconds.labels(stage).inc(seconds)

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)
