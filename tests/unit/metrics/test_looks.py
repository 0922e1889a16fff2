"""What one look closes: gaps, missing arms, planned windows, births, duplicates, drift bins."""

from __future__ import annotations

import math

import pytest

from modelhandoff.analysis.intervals import Bins, Count, Histogram, Moments, Rate
from modelhandoff.metrics.collector import Cursor, Exclusion, Segment
from modelhandoff.metrics.trouble import MetricsError, Trouble

from .history import START, Server, Stored
from .looking import ERRORS, LATENCY, Watcher, request

NEW, OLD = "fraud-v2-7d9f-abcde", "fraud-v1-7d9f-abcde"


def serve(stored: Stored, pod: str, begin: float, end: float, rate: float = 2) -> Server:
    """A pod that answers ``rate`` requests between scrapes from ``begin`` to ``end``."""
    server = Server(stored, pod, START - 100, instance=f"10.0.0.{len(stored.samples)}:80")
    server.requests(0)
    more(server, begin, end, rate)
    return server


def more(server: Server, begin: float, end: float, rate: float = 2) -> None:
    """Requests and a scrape every 5 s."""
    at = begin
    while at <= end:
        server.requests(rate)
        server.scrape(START + at)
        at += 5


class TestGrid:
    def test_the_grid_is_absolute_and_begins_after_the_evidence_clock(self) -> None:
        stored = Stored()
        serve(stored, NEW, -5, 40)
        watcher = Watcher(stored, request(begin=START + 3))
        assert watcher.look(START + 24.9) is None
        closed = watcher.look(START + 25)
        assert closed is not None
        (interval,) = closed.intervals
        assert (interval.start, interval.end) == (START + 10, START + 20)
        assert interval.index == (START + 10) / 10
        assert interval.requests == (4, None)

    def test_a_sample_on_the_border_belongs_to_the_interval_that_ends_there(self) -> None:
        stored = Stored()
        server = serve(stored, NEW, -4, -4)
        server.requests(7)
        server.scrape(START + 10)
        server.requests(9)
        server.scrape(START + 10.001)
        watcher = Watcher(stored, request())
        watcher.look(START + 15)
        assert watcher.counted == 7

    def test_what_was_missed_is_caught_up_interval_by_interval(self) -> None:
        stored = Stored()
        serve(stored, NEW, -5, 100)
        watcher = Watcher(stored, request())
        watcher.look(START + 15)
        watcher.look(START + 95)
        assert [one.requests[0] for one in watcher.intervals] == [4] * 9

    def test_after_a_long_outage_the_time_before_the_newest_intervals_is_one(self) -> None:
        stored = Stored()
        serve(stored, NEW, -5, 1000)
        watcher = Watcher(stored, request())
        watcher.look(START + 15)
        watcher.look(START + 1005)
        lengths = [one.end - one.start for one in watcher.intervals]
        assert lengths == [10, 590, *[10] * 40]
        assert watcher.counted == 4 * 100


class TestUnknown:
    def failure(self, watcher: Watcher, now: float) -> MetricsError:
        before = watcher.cursor
        with pytest.raises(MetricsError) as caught:
            watcher.look(START + now)
        assert watcher.cursor == before
        return caught.value

    def test_no_sample_at_all_is_missing(self) -> None:
        error = self.failure(Watcher(Stored(), request()), 15)
        assert error.trouble is Trouble.MISSING
        assert "no samples of pods fraud-v2-* in namespace shop" in str(error)

    def test_scrapes_that_fail_are_counted_in_the_message(self) -> None:
        stored = Stored()
        server = Server(stored, NEW, START)
        server.fail(START + 1)
        server.fail(START + 6)
        assert "2 scrapes of them failed" in str(self.failure(Watcher(stored, request()), 15))

    def test_samples_that_stop_are_stale_with_their_age(self) -> None:
        stored = Stored()
        serve(stored, NEW, -5, 10)
        watcher = Watcher(stored, request())
        watcher.look(START + 15)
        error = self.failure(watcher, 65)
        assert error.trouble is Trouble.STALE
        assert "is 50 s old" in str(error)
        assert "allowed 10 s" in str(error)

    def test_one_arm_alone_closes_nothing_and_the_gap_is_settled_for_both(self) -> None:
        stored = Stored()
        serve(stored, NEW, -5, 60)
        old = serve(stored, OLD, -5, 10, rate=20)
        watcher = Watcher(stored, request(baseline="fraud-v1"))
        watcher.look(START + 15)
        assert "baseline" in str(self.failure(watcher, 35))
        old.requests(60)
        more(old, 45, 60, rate=20)
        watcher.look(START + 65)
        spans = [(one.start - START, one.end - START, one.requests) for one in watcher.intervals]
        assert spans == [
            (0, 10, (4, 40)),
            (10, 50, (16, 100)),
            (50, 60, (4, 40)),
        ]

    def test_a_metric_that_nobody_publishes_is_absent_and_never_zero(self) -> None:
        stored = Stored()
        serve(stored, NEW, -5, 10)
        watcher = Watcher(stored, request((ERRORS, LATENCY)))
        watcher.look(START + 15)
        (interval,) = watcher.intervals
        assert set(interval.metrics) == {"errors"}
        assert any("latency: no pod of the candidate publishes" in one for one in watcher.warnings)

    def test_if_no_metric_can_be_read_nothing_is_closed(self) -> None:
        stored = Stored()
        serve(stored, NEW, -5, 10)
        error = self.failure(Watcher(stored, request((LATENCY,))), 15)
        assert error.trouble is Trouble.MISSING
        assert "request_duration_seconds_bucket" in str(error)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
    def test_a_value_that_is_no_count_is_refused_by_name(self, value: float) -> None:
        stored = Stored()
        server = serve(stored, NEW, -5, 0)
        server.counts[("modelhandoff_server_requests_total", (("code", "200"),))] = value
        server.scrape(START + 5)
        error = self.failure(Watcher(stored, request()), 15)
        assert error.trouble is Trouble.NOT_A_COUNT
        assert 'modelhandoff_server_requests_total{code="200"' in str(error)
        assert f"has the value {value}" in str(error)

    def test_a_spoilt_sample_spoils_its_window_and_not_the_next_ones(self) -> None:
        stored = Stored()
        server = serve(stored, NEW, -4, 12)
        key = ("modelhandoff_server_requests_total", (("code", "200"),))
        right = server.counts[key]
        watcher = Watcher(stored, request())
        watcher.look(START + 15)
        server.counts[key] = float("nan")
        server.scrape(START + 14)
        server.counts[key] = right
        more(server, 16, 46)
        assert self.failure(watcher, 25).trouble is Trouble.NOT_A_COUNT
        watcher.look(START + 35)
        watcher.look(START + 45)
        spans = [(one.start - START, one.end - START) for one in watcher.intervals]
        assert spans == [(0, 10), (10, 20), (20, 30), (30, 40)]
        at_40 = [v for (n, _), rows in stored.samples.items() if n == key[0]
                 for t, v, _ in rows if t <= (START + 40) * 1000][-1]  # fmt: skip
        assert watcher.counted == at_40 - 2, "all but what was answered before the evidence"


class TestSchedule:
    def test_planned_windows_and_weight_changes_are_excluded_for_both_arms(self) -> None:
        stored = Stored()
        serve(stored, NEW, -5, 80)
        serve(stored, OLD, -5, 80)
        schedule = (
            Segment(START + 15, 0, 10),
            Segment(START + 42, 1, 50),
            Segment(START + 60, 2, 100),
        )
        warmup = Exclusion(START + 20, START + 25, "pod warm-up")
        watcher = Watcher(
            stored, request(baseline="fraud-v1", schedule=schedule, exclusions=(warmup,))
        )
        watcher.look(START + 85)
        told = [(one.step, one.weight, one.excluded) for one in watcher.intervals]
        assert told == [
            (0, 0, "no weight had landed"),
            (0, 10, "weight 10 % landed at 22:13:35Z"),
            (0, 10, "pod warm-up"),
            (0, 10, ""),
            (1, 50, "weight 50 % landed at 22:14:02Z"),
            (1, 50, ""),
            (2, 100, ""),
            (2, 100, ""),
        ]

    def test_an_unplanned_restart_excludes_nothing(self) -> None:
        stored = Stored()
        server = serve(stored, NEW, -5, 5)
        server.restart(START + 6)
        server.requests(1, code=500)
        server.scrape(START + 10)
        watcher = Watcher(stored, request())
        watcher.look(START + 15)
        (interval,) = watcher.intervals
        assert interval.excluded == ""
        assert interval.metrics["errors"] == Rate((1, 3))


class TestPods:
    def test_only_pods_of_the_two_deployments_count(self) -> None:
        stored = Stored()
        serve(stored, NEW, -5, 10)
        serve(stored, "fraud-v2-2-7d9f-abcde", -5, 10, rate=1000)
        serve(stored, "other-7d9f-abcde", -5, 10, rate=1000)
        serve(stored, OLD, -5, 10, rate=20)
        watcher = Watcher(stored, request(baseline="fraud-v1"))
        watcher.look(START + 15)
        assert watcher.intervals[0].requests == (4, 40)

    def test_a_deployment_whose_name_begins_with_the_others(self) -> None:
        stored = Stored()
        serve(stored, "fraud-7d9f-abcde", -5, 10, rate=2)
        serve(stored, "fraud-v2-7d9f-abcde", -5, 10, rate=20)
        watcher = Watcher(stored, request(candidate="fraud-v2", baseline="fraud"))
        watcher.look(START + 15)
        assert watcher.intervals[0].requests == (40, 4)

    def test_a_target_first_seen_late_does_not_bring_its_history(self) -> None:
        stored = Stored()
        serve(stored, NEW, -5, 20)
        late = Server(stored, "fraud-v2-7d9f-late0", START - 5000, instance="10.1.1.1:80")
        late.requests(100_000)
        late.scrape(START + 12)
        late.requests(5)
        late.scrape(START + 17)
        watcher = Watcher(stored, request())
        watcher.look(START + 25)
        assert watcher.counted == 8 + 5

    def test_a_pod_that_comes_back_after_a_gap_is_settled(self) -> None:
        stored = Stored()
        serve(stored, NEW, -5, 60)
        other = serve(stored, "fraud-v2-7d9f-other", -5, 10)
        watcher = Watcher(stored, request())
        watcher.look(START + 15)
        watcher.look(START + 45)
        other.requests(100)
        other.scrape(START + 52)
        watcher.look(START + 65)
        assert watcher.counted == 4 * 6 + 4 + 100
        silent = [one for one in watcher.warnings if "other silent" in one]
        assert len(silent) == 1

    def test_a_pod_forgotten_and_seen_again_is_not_counted_twice(self) -> None:
        stored = Stored()
        serve(stored, NEW, -5, 1000)
        other = Server(stored, "fraud-v2-7d9f-other", START + 2, instance="10.1.1.1:80")
        more(other, 5, 10)
        watcher = Watcher(stored, request())
        for now in range(15, 800, 10):
            watcher.look(START + now)
        other.scrape(START + 795)
        watcher.look(START + 805)
        assert watcher.counted == 4 * 80 + 4

    def test_baseline_halves_add_up_to_the_baseline(self) -> None:
        stored = Stored()
        serve(stored, NEW, -5, 10)
        for number in range(5):
            serve(stored, f"fraud-v1-7d9f-pod0{number}", -5, 10, rate=10 + number)
        watcher = Watcher(stored, request(baseline="fraud-v1"))
        watcher.look(START + 15)
        (interval,) = watcher.intervals
        halves = interval.halves["errors"]
        assert isinstance(halves, Rate)
        assert halves.baseline is not None
        assert halves.candidate[1] + halves.baseline[1] == interval.requests[1] == 120
        assert min(halves.candidate[1], halves.baseline[1]) > 0


class TestDuplicates:
    def test_two_jobs_at_one_address_count_once_and_the_reader_stays(self) -> None:
        stored = Stored()
        one = Server(stored, NEW, START - 100)
        two = Server(stored, NEW, START - 100, job="again", counts=one.counts)
        one.requests(0)
        readers: list[str] = []
        watcher = Watcher(stored, request())
        for tick in range(-5, 41):
            one.requests(1 if 3 <= tick <= 35 else 0)
            if tick < 22:
                one.scrape(START + tick)
            two.scrape(START + tick + 0.3)
            if tick % 10 == 6 and tick > 10:
                watcher.look(START + tick)
                readers.append(_reader(watcher))
        watcher.look(START + 45)
        assert watcher.counted == 33
        assert readers == ["pods"] * 3, "as long as its scrapes are there"
        assert _reader(watcher) == "again"

    def test_replicas_of_prometheus_count_once(self) -> None:
        stored = Stored()
        one = Server(stored, NEW, START - 100, extra={"prometheus_replica": "a"})
        two = Server(stored, NEW, START - 100, extra={"prometheus_replica": "b"}, counts=one.counts)
        one.requests(0)
        for tick in range(-5, 11):
            one.requests(1)
            one.scrape(START + tick)
            two.scrape(START + tick + 0.4)
        watcher = Watcher(stored, request())
        watcher.look(START + 15)
        assert watcher.counted == 10

    def test_two_scrapers_that_disagree_are_refused_by_name(self) -> None:
        stored = Stored()
        good = Server(stored, NEW, START - 100)
        bad = Server(stored, NEW, START - 100, job="again")
        for tick in range(-5, 11):
            good.requests(1)
            bad.requests(50)
            good.scrape(START + tick)
            bad.scrape(START + tick + 0.3)
        with pytest.raises(MetricsError, match="two scrapers disagree about") as caught:
            Watcher(stored, request()).look(START + 15)
        assert caught.value.trouble is Trouble.AMBIGUOUS

    def test_two_addresses_of_one_pod_are_refused_by_name(self) -> None:
        stored = Stored()
        for port in (80, 81):
            server = Server(stored, NEW, START - 100, instance=f"10.0.0.1:{port}")
            more(server, -5, 10)
        with pytest.raises(MetricsError, match="scraped at two addresses at once") as caught:
            Watcher(stored, request()).look(START + 15)
        assert caught.value.trouble is Trouble.AMBIGUOUS
        assert NEW in str(caught.value)

    def test_a_pod_whose_address_changed_is_one_history(self) -> None:
        stored = Stored()
        server = Server(stored, NEW, START - 100, instance="10.0.0.1:80")
        server.requests(0)
        more(server, -4, 6)
        server.restart(START + 7)
        server.instance = "10.0.0.2:80"
        more(server, 8, 18)
        watcher = Watcher(stored, request())
        watcher.look(START + 25)
        assert watcher.counted == 4 + 6

    def test_the_same_series_twice_is_refused_by_name(self) -> None:
        stored = Stored()
        server = serve(stored, NEW, -5, 10)
        for tick in (0, 5, 10):
            stored.put(
                START + tick,
                "modelhandoff_server_requests_total",
                5,
                {**server.target, "code": "200", "shard": "b"},
            )
        with pytest.raises(MetricsError, match="two series where one is expected") as caught:
            Watcher(stored, request()).look(START + 15)
        assert caught.value.trouble is Trouble.AMBIGUOUS
        assert 'shard="b"' in str(caught.value)


class TestMeasurements:
    def test_latency_is_cumulative_counts_in_seconds(self) -> None:
        stored = Stored()
        server = Server(stored, NEW, START - 100)
        for tick in (-5, 0, 5, 10):
            server.requests(3)
            for value in (0.001, 0.02, 9.0):
                server.observe(value, (0.01, 0.03), "modelhandoff_server_request_duration_seconds")
            server.scrape(START + tick)
        watcher = Watcher(stored, request((LATENCY,)))
        watcher.look(START + 15)
        assert watcher.intervals[0].metrics["latency"] == Histogram(
            (0.01, 0.03, math.inf), (2, 4, 6), None
        )

    def test_arms_with_other_buckets_are_compared_at_the_common_edges(self) -> None:
        stored = Stored()
        name = "modelhandoff_server_request_duration_seconds"
        for pod, edges in ((NEW, (0.01, 0.03, 0.1)), (OLD, (0.02, 0.03, 0.1))):
            server = Server(stored, pod, START - 100, instance=f"{pod}:80")
            for tick in (-5, 0, 5, 10):
                server.requests(1)
                server.observe(0.015, edges, name)
                server.scrape(START + tick)
        watcher = Watcher(stored, request((LATENCY,), baseline="fraud-v1"))
        watcher.look(START + 15)
        assert watcher.intervals[0].metrics["latency"] == Histogram(
            (0.03, 0.1, math.inf), (2, 2, 2), (2, 2, 2)
        )

    def drifting(self, edges: tuple[float, ...] = (0.2, 0.5)) -> tuple[Stored, Server]:
        stored = Stored()
        server = Server(stored, NEW, START - 100)
        for tick in (-5, 0, 5, 10):
            server.requests(4)
            for value in (0.1, 0.3, 0.9):
                server.observe(value, edges, "modelhandoff_server_output", output="score")
            server.add("modelhandoff_server_output_missing_total", 1, output="score")
            server.scrape(START + tick)
        return stored, server

    def test_drift_counts_bins_and_missing_values(self) -> None:
        stored, _ = self.drifting()
        scores = {"name": "scores", "type": "Drift", "of": "Output", "maxKL": 0.2}
        watcher = Watcher(stored, request((scores,)))
        closed = watcher.look(START + 15)
        assert closed is not None
        assert closed.intervals[0].metrics["scores"] == Bins((2, 2, 2, 2), None)
        assert closed.edges == {"scores": (0.2, 0.5)}

    def test_bins_stay_those_of_the_first_interval(self) -> None:
        stored, server = self.drifting()
        scores = {"name": "scores", "type": "Drift", "of": "Output", "maxKL": 0.2}
        watcher = Watcher(stored, request((ERRORS, scores)))
        watcher.look(START + 15)
        server.restart(START + 16)
        for tick in (17, 20):
            server.requests(1)
            server.observe(0.3, (0.2,), "modelhandoff_server_output", output="score")
            server.scrape(START + tick)
        watcher.look(START + 25)
        last = watcher.intervals[-1]
        assert "scores" not in last.metrics
        assert "errors" in last.metrics
        assert any("agreed bin edges [0.5]" in one for one in watcher.warnings)

    def test_each_of_several_outputs_has_its_own_key(self) -> None:
        stored, server = self.drifting()
        server.observe(1.0, (0.5,), "modelhandoff_server_output", output="label")
        server.scrape(START + 9)
        scores = {"name": "scores", "type": "Drift", "of": "Output", "maxKL": 0.2}
        closed = Watcher(stored, request((scores,))).look(START + 15)
        assert closed is not None
        assert set(closed.edges) == {"scores/label", "scores/score"}

    def test_a_feature_is_read_by_its_name(self) -> None:
        stored = Stored()
        server = Server(stored, NEW, START - 100)
        for tick in (-4, 5):
            server.observe(3.0, (1, 5), "modelhandoff_server_feature", feature="amount")
            server.observe(0.0, (1, 5), "modelhandoff_server_feature", feature="age")
            server.scrape(START + tick)
        drift = {
            "name": "amount", "type": "Drift", "of": "Feature", "feature": "amount", "maxKL": 0.1,
        }  # fmt: skip
        watcher = Watcher(stored, request((drift,)))
        watcher.look(START + 15)
        assert watcher.intervals[0].metrics["amount"] == Bins((0, 1, 0, 0), None)

    def test_buckets_that_fall_and_a_count_that_differs_are_flagged(self) -> None:
        stored = Stored()
        name = "modelhandoff_server_request_duration_seconds"
        server = Server(stored, NEW, START - 100)
        for tick in (-4, 5):
            server.requests(2)
            server.observe(0.001, (0.01, 0.03), name)
            server.observe(0.02, (0.01, 0.03), name)
            if tick == 5:
                server.counts[(f"{name}_bucket", (("le", "0.03"),))] = 1
                server.add(f"{name}_count", 3)
            server.scrape(START + tick)
        watcher = Watcher(stored, request((LATENCY,)))
        watcher.look(START + 15)
        (interval,) = watcher.intervals
        assert interval.quality == ("BucketMismatch", "BucketsFall")
        assert interval.metrics["latency"] == Histogram((0.01, 0.03, math.inf), (1, 1, 2), None)
        assert any("below the bucket before it" in one for one in watcher.warnings)

    def test_means_and_counts_of_ones_own_counters(self) -> None:
        stored = Stored()
        server = Server(stored, NEW, START - 100)
        for tick in (-5, 0, 5, 10):
            server.add("orders_total", 2, kind="paid")
            server.add("value_sum", 30.5)
            server.add("value_count", 2)
            server.scrape(START + tick)
        own = (
            {"name": "orders", "type": "Count", "maxDrop": 0.1,
             "counter": {"metric": "orders_total"}},
            {"name": "value", "type": "Mean", "maxRegression": 0.05,
             "sum": {"metric": "value_sum"}, "count": {"metric": "value_count"}},
        )  # fmt: skip
        watcher = Watcher(_named(stored), request(own))
        watcher.look(START + 15)
        (interval,) = watcher.intervals
        assert interval.metrics["orders"] == Count(4, None)
        assert interval.metrics["value"] == Moments((4, 61, 61 * 61 / 4), None)
        assert interval.requests == (4, None)

    def test_a_counter_cleared_in_a_living_process_counts_from_zero(self) -> None:
        stored = Stored()
        server = serve(stored, NEW, -4, 6, rate=10)
        server.requests(3, code=500)
        server.scrape(START + 7)
        server.counts[("modelhandoff_server_requests_total", (("code", "200"),))] = 4
        server.scrape(START + 9)
        watcher = Watcher(stored, request())
        watcher.look(START + 15)
        assert watcher.intervals[0].metrics["errors"] == Rate((3, 20 + 3 + 4))

    def test_the_buckets_of_a_cleared_histogram_fall_together(self) -> None:
        stored = Stored()
        name = "modelhandoff_server_request_duration_seconds"
        server = Server(stored, NEW, START - 100)
        server.observe(0.001, (0.01,), name, times=5)
        server.observe(0.5, (0.01,), name, times=4)
        server.scrape(START - 1)
        server.counts = {}
        server.observe(0.001, (0.01,), name, times=6)
        server.scrape(START + 5)
        watcher = Watcher(stored, request((LATENCY,)))
        watcher.look(START + 15)
        assert watcher.intervals[0].metrics["latency"] == Histogram((0.01, math.inf), (6, 6))

    def test_a_metric_asked_for_the_first_time_does_not_bring_its_history(self) -> None:
        stored = Stored()
        name = "modelhandoff_server_request_duration_seconds"
        server = Server(stored, NEW, START - 100)
        for tick in (-4, 5, 15, 25):
            server.requests(1)
            server.observe(0.5, (0.01,), name, times=100)
            server.scrape(START + tick)
        before = Watcher(stored, request())
        before.look(START + 15)
        after = Watcher(stored, request((ERRORS, LATENCY)), before.cursor)
        after.look(START + 35)
        seen = [one.metrics["latency"] for one in after.intervals]
        assert seen == [
            Histogram((0.01, math.inf), (0, 0)), Histogram((0.01, math.inf), (0, 100)),
        ]  # fmt: skip

    def test_a_process_with_fewer_buckets_is_compared_at_those_it_has(self) -> None:
        stored = Stored()
        name = "modelhandoff_server_request_duration_seconds"
        server = Server(stored, NEW, START - 100)
        server.observe(0.02, (0.01, 0.03), name)
        server.scrape(START - 1)
        server.observe(0.02, (0.01, 0.03), name)
        server.scrape(START + 3)
        server.restart(START + 5)
        server.observe(0.001, (0.01,), name, times=5)
        server.scrape(START + 8)
        watcher = Watcher(stored, request((LATENCY,)))
        watcher.look(START + 15)
        assert watcher.intervals[0].metrics["latency"] == Histogram((0.01, math.inf), (5, 6))

    def test_a_sum_that_falls_is_a_negative_value_and_no_reset(self) -> None:
        stored = Stored()
        server = Server(stored, NEW, START - 100)
        key = ("margin_sum", ())
        for tick, total in ((-4, 5.0), (1, 9.0), (5, -3.0), (9, -2.0)):
            server.counts[key] = total
            server.add("margin_count", 1)
            server.scrape(START + tick)
        server.restart(START + 12)
        server.counts[key] = 4.0
        server.add("margin_count", 2)
        server.scrape(START + 15)
        mean = {
            "name": "margin", "type": "Mean", "minLift": 0.0,
            "sum": {"metric": "margin_sum"}, "count": {"metric": "margin_count"},
        }  # fmt: skip
        watcher = Watcher(_named(stored), request((mean,)))
        watcher.look(START + 25)
        assert [one.metrics["margin"] for one in watcher.intervals] == [
            Moments((3, -7, 49 / 3)), Moments((2, 4, 8)),
        ]  # fmt: skip

    def test_a_sidecars_port_is_no_second_process(self) -> None:
        stored = Stored()
        sidecar = Server(stored, NEW, START - 90, instance="10.0.0.9:15020", job="mesh")
        server = Server(stored, NEW, START - 100, instance="10.0.0.9:8080")
        server.requests(0)
        for tick in (-4, 1, 6):
            sidecar.scrape(START + tick + 0.5)
            server.requests(2)
            server.scrape(START + tick)
        watcher = Watcher(stored, request())
        watcher.look(START + 15)
        assert watcher.counted == 4

    def test_bad_requests_that_never_existed_are_unknown_not_zero(self) -> None:
        stored = Stored()
        server = Server(stored, NEW, START - 100)
        for tick in (-4, 5):
            server.add("calls_total", 2)
            server.scrape(START + tick)
        rate = {
            "name": "errors", "type": "ErrorRate", "max": 0.01,
            "counters": {"bad": {"metric": "failed_total"}, "total": {"metric": "calls_total"}},
        }  # fmt: skip
        with pytest.raises(MetricsError, match="no pod of the candidate publishes failed_total"):
            Watcher(_named(stored), request((rate,))).look(START + 15)


def _reader(watcher: Watcher) -> str:
    """The job whose scrapes are read."""
    assert watcher.cursor is not None
    (target,) = Cursor.from_json(watcher.cursor).targets
    return target.endpoint.split("|")[0]


def _named(stored: Stored) -> Stored:
    """The same samples under the texts that a tenant's own selections are kept under."""
    out = Stored()
    for (name, labels), rows in stored.samples.items():
        builtin = name in ("up", "process_start_time_seconds")
        out.samples[(name if builtin else f"{name}{{}}", labels)] = rows
    return out
