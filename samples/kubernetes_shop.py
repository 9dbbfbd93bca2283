"""kubernetes.log: six hours of a shop on Kubernetes as Fluent Bit hands it over, with three things going wrong."""

from __future__ import annotations

import json

from .scene import Expected, Scene, iso

__all__ = ["EXPECTED", "FAKE_PASSWORD", "FAKE_TOKEN", "MAX_INCIDENTS", "make"]

DAY = "2026-03-12"
POOL = ("10:20", "10:38")
KILLED = ("12:04", "12:31")
SILENT = "13:20"
MAX_INCIDENTS = 8
# Made up, and the only ones here: tests look for them in what logllm prints, where they must not be.
FAKE_PASSWORD = "fake-Pa55word-for-tests"  # noqa: S105
FAKE_TOKEN = "fake-token-0123456789abcdef"  # noqa: S105

EXPECTED = [
    Expected(
        kind="new|rate|severity|dominant",
        service="payments",
        about="(?i)connection is not available|acquire JDBC connection",
        start=f"{DAY}T10:20:00Z",
        end=f"{DAY}T10:42:00Z",
        runbook="db-pool-exhausted",
    ),
    Expected(
        kind="new|rate|severity|dominant",
        service="gateway",
        about="(?i)upstream .*payments|answered 50[0-9]",
        start=f"{DAY}T10:20:00Z",
        end=f"{DAY}T10:42:00Z",
        runbook=None,
    ),
    Expected(
        kind="new|rate|severity|rare|dominant",
        service="thumbnails|event-exporter",
        about="(?i)OOMKill|out of memory|back-off restarting",
        start=f"{DAY}T12:04:00Z",
        end=f"{DAY}T12:36:00Z",
        runbook="container-oomkilled",
    ),
    Expected(
        kind="silence",
        service="pricefeed",
        about="(?i)heartbeat",
        start=f"{DAY}T13:20:00Z",
        end=f"{DAY}T14:00:00Z",
        runbook="heartbeat-missing",
    ),
]

PODS = {
    "gateway": ("shop", "gateway-7c9d8f6b5-k4m2t"),
    "catalog": ("shop", "catalog-5f7b9c4d8-w8xzn"),
    "cart": ("shop", "cart-66c5d9b7f-qh7rj"),
    "payments": ("shop", "payments-6d9f7b5c4-x2k8p"),
    "thumbnails": ("shop", "thumbnails-849c6d5b7-m5vgl"),
    "pricefeed": ("shop", "pricefeed-0"),
    "event-exporter": ("kube-system", "event-exporter-74b8f-tz6sd"),
}
ROUTES = (("GET /api/catalog/items", "catalog"), ("GET /api/cart", "cart"), ("POST /api/cart/items", "cart"))


class Cluster:
    """Writes one JSON object a line, the shape of Fluent Bit's kubernetes filter."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def say(self, time_ms: int, service: str, level: str, log: str) -> None:
        namespace, pod = PODS[service]
        record = {
            "time": iso(time_ms),
            "stream": "stderr" if level == "error" else "stdout",
            "level": level,
            "log": log,
            "kubernetes": {
                "namespace_name": namespace,
                "pod_name": pod,
                "container_name": service,
                "labels": {"app": service},
            },
        }
        self.scene.put(time_ms, json.dumps(record, separators=(",", ":")))


def make(seed: int = 20260312) -> str:
    """The whole log as text."""
    scene = Scene(f"{DAY}T08:00:00Z", 6, seed)
    cluster = Cluster(scene)
    _shop(cluster)
    _payments(cluster)
    _thumbnails(cluster)
    _price_feed(cluster)
    _events(cluster)
    _pool_exhausted(cluster)
    _out_of_memory(cluster)
    return scene.render()


def _shop(cluster: Cluster) -> None:
    scene, rng = cluster.scene, cluster.scene.random
    for time_ms in scene.traffic(4.2):
        route, upstream = ROUTES[rng.randrange(len(ROUTES))]
        took = scene.around(18)
        cluster.say(time_ms, "gateway", "info", f"{route} 200 {took:.0f}ms upstream={upstream} req={scene.hex(8)}")
    for time_ms in scene.traffic(0.12, shape=1.5):
        cluster.say(
            time_ms, "gateway", "warn", f"client 198.51.100.{rng.randrange(2, 250)} closed the connection early"
        )
    for time_ms in scene.traffic(0.05, shape=1.5):
        took = scene.around(900, 0.2)
        late = f"upstream cart answered 500 Internal Server Error after {took:.0f}ms req={scene.hex(8)}"
        cluster.say(time_ms, "gateway", "error", late)
    for time_ms in scene.traffic(1.6):
        count = rng.randrange(1, 60)
        cluster.say(
            time_ms,
            "catalog",
            "info",
            f"listed {count} items of category {rng.randrange(1, 30)} in {scene.around(9):.1f} ms",
        )
    for time_ms in scene.traffic(0.5):
        cluster.say(time_ms, "catalog", "debug", f"cache miss for item {rng.randrange(1000, 9999)}, loaded from db")
    for time_ms in scene.every(900, jitter_ms=5000, start_ms=scene.start_ms + 140_000):
        cluster.say(time_ms, "catalog", "info", f"search index refreshed, {rng.randrange(8100, 8300)} documents")
    for time_ms in scene.traffic(1.1):
        cart, items = scene.hex(6), rng.randrange(1, 9)
        cluster.say(
            time_ms, "cart", "info", f"cart {cart} saved with {items} items for user u{rng.randrange(1000, 99999)}"
        )
    for time_ms in scene.traffic(0.15, shape=1.5):
        cluster.say(time_ms, "cart", "warn", f"cart {scene.hex(6)} has expired, {rng.randrange(1, 6)} items dropped")


def _payments(cluster: Cluster) -> None:
    scene, rng = cluster.scene, cluster.scene.random
    start_ms, end_ms = scene.at(POOL[0]), scene.at(POOL[1])

    def slower(time_ms: int) -> float:
        return 0.2 if start_ms <= time_ms < end_ms else 1.0

    for time_ms in scene.traffic(lambda t: 1.3 * slower(t)):
        charge, took = scene.hex(8), scene.around(140)
        cluster.say(
            time_ms, "payments", "info", f"charge {charge} authorised, {scene.around(40):.2f} EUR in {took:.0f} ms"
        )
        cluster.say(
            time_ms + int(took),
            "gateway",
            "info",
            f"POST /api/payments/charge 200 {took + 6:.0f}ms upstream=payments req={charge}",
        )
    for time_ms in scene.every(60, jitter_ms=800, start_ms=scene.start_ms + 12_000):
        busy = start_ms <= time_ms < end_ms
        active, waiting = (10, rng.randrange(9, 31)) if busy else (rng.randrange(1, 6), 0)
        stats = f"HikariPool-1 - Pool stats (total=10, active={active}, idle={10 - active}, waiting={waiting})"
        cluster.say(time_ms, "payments", "debug", stats)
    for time_ms in scene.traffic(0.08, shape=1.5):
        cluster.say(
            time_ms,
            "payments",
            "warn",
            f"charge {scene.hex(8)} declined by the card issuer, code {rng.randrange(51, 66)}",
        )


def _thumbnails(cluster: Cluster) -> None:
    scene, rng = cluster.scene, cluster.scene.random
    for time_ms in scene.traffic(1.3):
        if scene.at(KILLED[0]) <= time_ms < scene.at(KILLED[1]):
            continue
        size = f"{rng.randrange(400, 4000)}x{rng.randrange(400, 3000)}"
        cluster.say(
            time_ms, "thumbnails", "info", f"resized image {scene.hex(10)} from {size} in {scene.around(60):.0f} ms"
        )
    _thumbnails_start(cluster, scene.at("08:03:10"))


def _thumbnails_start(cluster: Cluster, time_ms: int) -> None:
    say = (
        "thumbnails 2.8.1 starting, 4 workers, memory limit 256 MiB",
        "connected to object store objects.example.internal, bucket images",
        "listening on [::]:8080",
    )
    for step, line in enumerate(say):
        cluster.say(time_ms + 420 * step, "thumbnails", "info", line)


def _price_feed(cluster: Cluster) -> None:
    scene, rng = cluster.scene, cluster.scene.random
    silent_ms = scene.at(SILENT)
    beat = 48_211
    for time_ms in scene.every(30, jitter_ms=700, end_ms=silent_ms):
        beat += 1
        cluster.say(time_ms, "pricefeed", "info", f"heartbeat {beat} ok, lag {rng.randrange(20, 180)} ms")
    for time_ms in scene.every(300, jitter_ms=3000, start_ms=scene.start_ms + 41_000, end_ms=silent_ms):
        changed = int(scene.around(30))
        cluster.say(
            time_ms, "pricefeed", "info", f"applied {changed} price changes from feed 2001:db8::{rng.randrange(1, 5)}"
        )


def _events(cluster: Cluster) -> None:
    scene, rng = cluster.scene, cluster.scene.random
    for time_ms in scene.every(1800, jitter_ms=4000, start_ms=scene.start_ms + 600_000):
        job = f"job/sitemap-{rng.randrange(29_000_000, 29_999_999)}"
        cluster.say(time_ms, "event-exporter", "info", f"Normal SuccessfulCreate {job} Created pod")
        cluster.say(time_ms + 45_000, "event-exporter", "info", f"Normal Completed {job} Job completed")
    for time_ms in scene.traffic(0.06, shape=1.5):
        node = f"node/worker-{rng.randrange(1, 4)}"
        cluster.say(time_ms, "event-exporter", "info", f"Normal NodeHasSufficientMemory {node} status is now: ready")


def _pool_exhausted(cluster: Cluster) -> None:
    scene, rng = cluster.scene, cluster.scene.random
    start_ms, end_ms = scene.at(POOL[0]), scene.at(POOL[1])
    for time_ms in scene.traffic(7, start_ms=start_ms, end_ms=end_ms, shape=6):
        charge, waiting = scene.hex(8), rng.randrange(9, 31)
        cause = "HikariPool-1 - Connection is not available, request timed out after "
        cause += f"{rng.randrange(30_000, 30_012)}ms (total=10, active=10, idle=0, waiting={waiting})"
        log = f"charge {charge} failed: Unable to acquire JDBC Connection: {cause}"
        if rng.random() < 0.25:
            log += "\njava.sql.SQLTransientConnectionException: " + cause
            log += "\n\tat com.zaxxer.hikari.pool.HikariPool.createTimeoutException(HikariPool.java:686)"
            log += "\n\tat com.example.payments.ChargeStore.insert(ChargeStore.java:52)"
        cluster.say(time_ms, "payments", "error", log)
        took = rng.randrange(30_004, 30_040)
        answered = f"upstream payments (192.0.2.31:8080) answered 503 Service Unavailable after {took}ms req={charge}"
        cluster.say(time_ms + 9, "gateway", "error", answered)
        cluster.say(
            time_ms + 10, "gateway", "info", f"POST /api/payments/charge 503 {took}ms upstream=payments req={charge}"
        )
    for time_ms in scene.every(300, start_ms=start_ms + 47_000, end_ms=end_ms):
        held_s, thread = rng.randrange(120, 900), rng.randrange(3, 6)
        leak = f"connection leak suspected: held for {held_s}s by settlement-report thread-{thread}"
        cluster.say(time_ms, "payments", "warn", leak)
    url = f"jdbc:postgresql://192.0.2.15:5432/payments?user=payments&password={FAKE_PASSWORD}"
    cluster.say(scene.at("10:37:40"), "payments", "warn", f"rebuilding the connection pool for {url}")
    cluster.say(end_ms, "payments", "info", f"settlement-report cancelled by admin api, token={FAKE_TOKEN}")


def _out_of_memory(cluster: Cluster) -> None:
    scene, rng = cluster.scene, cluster.scene.random
    time_ms, wait_s = scene.at(KILLED[0]) + 31_000, 10
    end_ms = scene.at(KILLED[1])
    while time_ms < end_ms:
        _, pod = PODS["thumbnails"]
        for step in range(3):
            used = 190 + 22 * step + rng.randrange(9)
            cluster.say(
                time_ms + 2_000 * step,
                "thumbnails",
                "warn",
                f"memory high: {used} of 256 MiB while resizing image {scene.hex(10)}",
            )
        pid = rng.randrange(31_000, 64_000)
        size_kb = rng.randrange(900_000, 990_000)
        kill = f"Memory cgroup out of memory: Killed process {pid} (thumbnails) total-vm:{size_kb}kB"
        cluster.say(time_ms + 6_200, "event-exporter", "warn", f"Warning OOMKilling node/worker-2 {kill}")
        died = f"container thumbnails terminated: reason OOMKilled, exit code 137, pod shop/{pod}"
        cluster.say(time_ms + 6_900, "event-exporter", "warn", f"Warning ContainerDied pod/{pod} {died}")
        back_off = f"Warning BackOff pod/{pod} Back-off restarting failed container thumbnails in pod {pod}"
        for step in range(1 + wait_s // 60):
            cluster.say(time_ms + 9_000 + 60_000 * step, "event-exporter", "warn", back_off)
        restart_ms = time_ms + 6_900 + 1000 * wait_s
        if restart_ms < end_ms:
            _thumbnails_start(cluster, restart_ms)
        time_ms = restart_ms + rng.randrange(8_000, 20_000)
        wait_s = min(300, wait_s * 2)
    rolled = "Scaled up replica set thumbnails-849c6d5b7, memory limit 768 MiB"
    cluster.say(end_ms - 9_000, "event-exporter", "info", f"Normal ScalingReplicaSet deployment/thumbnails {rolled}")
    _thumbnails_start(cluster, end_ms - 4_000)
