"""The simulated fleet beside the checkout: how many spikes and silences are found, at how many false alerts a day."""

from __future__ import annotations

import pytest

from tests.bench.alert_sim import FLEET, fleet, measure


@pytest.mark.shared
def test_at_five_alerts_a_day_the_fleets_spikes_and_silences_are_found_within_the_budget() -> None:
    simulation = fleet()
    if simulation is None:
        pytest.skip(f"the simulation is not beside the checkout: {FLEET}")

    figures = measure(simulation, 5.0)

    assert figures["spike"]["of"] == 183
    assert figures["spike"]["found"] >= 80
    assert figures["spike"]["false_per_day"] + figures["silence"]["false_per_day"] <= 5.0
    assert figures["silence"]["found"] == figures["silence"]["of"] == 13
    assert figures["silence"]["false_per_day"] <= 1.0
