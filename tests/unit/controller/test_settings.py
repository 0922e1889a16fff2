"""Settings: flags before environment before defaults, and one clear line for what is wrong."""

from typing import Any

import pytest

from modelhandoff.controller.settings import load
from modelhandoff.errors import InvalidInputError


def test_a_flag_wins_over_the_environment_and_the_environment_over_the_default() -> None:
    environment = {"MODELHANDOFF_WORKERS": "3", "MODELHANDOFF_RESYNC": "120"}
    settings = load(environment, {"workers": 7, "resync": None})
    assert (settings.workers, settings.resync, settings.request_timeout) == (7, 120.0, 30.0)


def test_namespaces_come_as_a_list_in_one_variable() -> None:
    settings = load({"MODELHANDOFF_NAMESPACES": "team-a, team-b,"}, {"namespaces": ()})
    assert settings.namespaces == ("team-a", "team-b")
    assert not settings.cluster_wide
    assert load({}, {}).cluster_wide


def test_a_pod_keeps_its_name_in_the_lease_and_everybody_else_is_somebody_new() -> None:
    in_pod = load({"POD_NAME": "operator-0", "POD_NAMESPACE": "ops"}, {})
    assert (in_pod.identity, in_pod.lease_namespace) == ("operator-0", "ops")
    assert load({}, {}).identity not in ("", "operator-0")


def test_the_lag_covers_a_scrape_that_was_missed() -> None:
    assert load({}, {"scrape_interval": 15.0}).lag > 2 * 15.0


@pytest.mark.parametrize(
    ("environment", "flags", "line"),
    [
        ({"MODELHANDOFF_WORKERS": "many"}, {}, r"^MODELHANDOFF_WORKERS: .*got many; allowed "),
        ({}, {"workers": 0}, r"^--workers: .*got 0; allowed "),
        ({}, {"namespaces": ("Team_A",)}, r"^--namespaces: .*got Team_A; allowed "),
        ({}, {"log_level": "LOUD"}, r"^--log-level: .*got LOUD; allowed "),
        ({}, {"scrape_interval": float("nan")}, r"^--scrape-interval: .*got nan; allowed "),
        (
            {},
            {"renew_deadline": 20.0},
            r"^--renew-deadline: .*got 20.0; allowed more than 2 and less than 15$",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_is_one_line_that_names_the_place(
    environment: dict[str, str], flags: dict[str, Any], line: str
) -> None:
    with pytest.raises(InvalidInputError, match=line) as caught:
        load(environment, flags)
    assert "\n" not in str(caught.value)
