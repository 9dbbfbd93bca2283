"""quiet.log: a day of an ordinary web shop in logfmt, with a release at half past one that brings new texts."""

from __future__ import annotations

import math

from .scene import HOUR_MS, Expected, Scene, iso

__all__ = ["EXPECTED", "MAX_INCIDENTS", "make"]

DAY = "2026-03-11"
RELEASE = "13:30"
MAX_INCIDENTS = 1

EXPECTED = [
    Expected(
        kind="release",
        service="inventory",
        about="",
        start=f"{DAY}T13:28:00Z",
        end=f"{DAY}T14:30:00Z",
        runbook="release-new-templates",
        severity="info",
        optional=True,
    ),
]

PAGES = ("/", "/lamps", "/chairs", "/desks", "/sale", "/search", "/basket")


class Day:
    """Writes logfmt lines; `busy` is the season: four times as much at noon as at four in the morning."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def say(self, time_ms: int, service: str, level: str, message: str) -> None:
        self.scene.put(time_ms, f'time={iso(time_ms)} level={level} service={service} msg="{message}"')

    def busy(self, time_ms: int) -> float:
        hour = (time_ms - self.scene.start_ms) / HOUR_MS
        return 1.0 - 0.62 * math.cos((hour - 3.5) * math.pi / 12) + 0.12 * math.cos((hour - 20) * math.pi / 3)


def make(seed: int = 20260311) -> str:
    """The whole log as text."""
    scene = Scene(f"{DAY}T00:00:00Z", 24, seed)
    day = Day(scene)
    _storefront(day)
    _mailer(day)
    _inventory_always(day)
    _inventory_before(day)
    _release(day)
    _inventory_after(day)
    return scene.render()


def _storefront(day: Day) -> None:
    scene, rng = day.scene, day.scene.random
    for time_ms in scene.traffic(lambda t: 2.3 * day.busy(t)):
        client = f"198.51.100.{rng.randrange(2, 250)}"
        took = scene.around(24)
        day.say(time_ms, "storefront", "info", f"GET {scene.pick(PAGES)} 200 in {took:.0f} ms for {client}")
    for time_ms in scene.traffic(lambda t: 0.5 * day.busy(t)):
        day.say(time_ms, "storefront", "info", f"basket {scene.hex(8)} now holds {rng.randrange(1, 9)} items")
    for time_ms in scene.traffic(lambda t: 0.09 * day.busy(t), shape=1.5):
        day.say(time_ms, "storefront", "warn", f"slow page {scene.pick(PAGES)}: {scene.around(1600, 0.2):.0f} ms")
    for time_ms in scene.traffic(lambda t: 0.05 * day.busy(t), shape=1.5):
        day.say(
            time_ms,
            "storefront",
            "warn",
            f"no such page /old/{rng.randrange(100, 999)} asked by 2001:db8::{scene.hex(4)}",
        )
    for time_ms in scene.traffic(0.02, shape=1.5):
        day.say(
            time_ms, "storefront", "error", f"form token of session {scene.hex(10)} does not match, page sent again"
        )
    for time_ms in scene.every(600, jitter_ms=20_000, start_ms=scene.start_ms + 200_000):
        day.say(
            time_ms,
            "storefront",
            "info",
            f"{rng.randrange(20, 90)} sessions open, {rng.randrange(1, 9)} closed as idle",
        )


def _mailer(day: Day) -> None:
    scene, rng = day.scene, day.scene.random
    for time_ms in scene.traffic(lambda t: 0.45 * day.busy(t)):
        took = scene.around(300)
        day.say(time_ms, "mailer", "info", f"sent mail {scene.hex(8)} order-confirmation in {took:.0f} ms")
    for time_ms in scene.traffic(lambda t: 0.03 * day.busy(t), shape=1.5):
        day.say(time_ms, "mailer", "warn", f"mail {scene.hex(8)} deferred, trying again in {rng.randrange(5, 31)} min")
    for time_ms in scene.every(300, jitter_ms=900, start_ms=scene.start_ms + 33_000):
        day.say(time_ms, "mailer", "info", f"queue holds {rng.randrange(0, 4)} mails")
    time_ms = scene.at("02:00:04")
    day.say(time_ms, "mailer", "info", "writing the newsletter of the week to 412 readers")
    for step in range(5):
        day.say(
            time_ms + 61_000 * (step + 1), "mailer", "info", f"newsletter: {min(412, 90 * (step + 1))} of 412 written"
        )


def _inventory_always(day: Day) -> None:
    scene, rng = day.scene, day.scene.random
    for time_ms in scene.traffic(lambda t: 0.9 * day.busy(t)):
        day.say(
            time_ms,
            "inventory",
            "info",
            f"stock of article {rng.randrange(1000, 1400)} asked, {rng.randrange(0, 300)} left",
        )
    for time_ms in scene.traffic(lambda t: 0.04 * day.busy(t), shape=1.5):
        day.say(
            time_ms,
            "inventory",
            "warn",
            f"article {rng.randrange(1000, 1400)} is nearly sold out, {rng.randrange(1, 4)} left",
        )
    for time_ms in scene.every(3600, jitter_ms=60_000, start_ms=scene.start_ms + 700_000):
        day.say(time_ms, "inventory", "info", f"counted {rng.randrange(390, 402)} articles in 3 warehouses")


def _inventory_before(day: Day) -> None:
    """Texts that the release replaces: from half past one they are heard no more."""
    scene, rng = day.scene, day.scene.random
    end_ms = scene.at(RELEASE)
    for time_ms in scene.traffic(lambda t: 0.7 * day.busy(t), end_ms=end_ms):
        day.say(time_ms, "inventory", "info", f"reserved {rng.randrange(1, 5)} of article {rng.randrange(1000, 1400)}")
    for time_ms in scene.every(120, jitter_ms=2000, start_ms=scene.start_ms + 15_000, end_ms=end_ms):
        day.say(
            time_ms, "inventory", "info", f"synced with warehouse {rng.randrange(1, 4)} in {scene.around(80):.0f} ms"
        )


def _release(day: Day) -> None:
    scene, rng = day.scene, day.scene.random
    start = (
        "inventory 5.4.0 starting, build 7c1e09d, was 5.3.2",
        "configuration read from /etc/inventory/inventory.toml, 31 keys",
        "schema is at version 88, 2 migrations applied",
        "feature reservations-v2 is on",
        "feature shelf-maps is on",
        "joined group inventory with 3 members",
        "ready after 2140 ms",
    )
    for pod in range(3):
        time_ms = scene.at(RELEASE) + 75_000 * pod
        day.say(time_ms, "inventory", "info", f"got SIGTERM, finishing {rng.randrange(1, 9)} requests")
        day.say(time_ms + 1_800, "inventory", "info", "stopped cleanly")
        for step, line in enumerate(start):
            day.say(time_ms + 4_000 + 310 * step, "inventory", "info", line)


def _inventory_after(day: Day) -> None:
    scene, rng = day.scene, day.scene.random
    start_ms = scene.at(RELEASE) + 180_000
    for time_ms in scene.traffic(lambda t: 0.7 * day.busy(t), start_ms=start_ms):
        article, warehouse = rng.randrange(1000, 1400), rng.randrange(1, 4)
        day.say(time_ms, "inventory", "info", f"reservation {scene.hex(8)}: article {article} in warehouse {warehouse}")
    for time_ms in scene.every(120, jitter_ms=2000, start_ms=start_ms + 15_000):
        changes = int(scene.around(12))
        day.say(time_ms, "inventory", "info", f"warehouse {rng.randrange(1, 4)} delta applied, {changes} changes")
    for time_ms in scene.traffic(lambda t: 0.2 * day.busy(t), start_ms=start_ms):
        day.say(
            time_ms, "inventory", "info", f"shelf map of aisle {rng.randrange(1, 40)} sent to scanner {scene.hex(4)}"
        )
    for time_ms in scene.every(900, jitter_ms=9000, start_ms=start_ms + 60_000):
        day.say(time_ms, "inventory", "info", f"reservation cache warmed with {rng.randrange(380, 402)} articles")
