"""A service that is killed while it sends to an OTLP receiver and a Loki: what it acknowledged is at both."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from pathlib import Path

from tests.delivery.child import Server
from tests.delivery.sender import Sender, Way, text_of
from tests.sinks.receivers import CUT, CUT_AFTER_TAKING, Answer, Behaviour, Got, LokiReceiver, OtlpReceiver, values_of

RECORDS = 20_000
KILLS = 5


def unruly(seed: int, taken: int) -> Behaviour:
    """Takes most requests, and loses some of its answers."""
    rng, lock = random.Random(seed), threading.Lock()

    def behave(_: Got) -> Answer:
        with lock:
            throw = rng.random()
        if throw < 0.1:
            return rng.choice((Answer(503), Answer(429), CUT, CUT_AFTER_TAKING))
        return Answer(taken)

    return behave


def test_whatever_was_acknowledged_is_at_both_receivers_however_often_the_service_is_killed(tmp_path: Path) -> None:
    otlp = OtlpReceiver(after=unruly(1, 200))
    loki = LokiReceiver(after=unruly(2, 204))
    rng = random.Random(3)
    with otlp, loki:
        config = tmp_path / "logllm.toml"
        config.write_text(
            f"[[sinks]]\ntype = 'otlp'\nurl = '{otlp.url}'\nmax_request_bytes = 65536\n"
            f"[[sinks]]\ntype = 'loki'\nurl = '{loki.url}'\nmax_request_bytes = 65536\n"
        )
        sender = Sender(0, RECORDS, ways=(Way(), Way(pipelined=True), Way(hangs_up=0.02)), io_timeout_s=10.0)
        with Server("-c", str(config), "--data-dir", str(tmp_path / "data"), log=tmp_path / "log") as server:
            sender.port = server.port
            sender.allow(RECORDS // (KILLS + 1))
            server.start()
            sender.start()
            for kill in range(KILLS):
                sender.wait(5.0, RECORDS * (kill + 1) // (KILLS + 1) - rng.randrange(2000))
                assert server.child is not None
                server.child.kill()
                server.wait()
                sender.allow(RECORDS * (kill + 2) // (KILLS + 1))
                server.start()
            everything_is_acked = sender.wait(60.0)
            sender.stop()
            code = server.end()

    assert (everything_is_acked, code) == (True, 0)
    assert not sender.violations
    texts = Counter(record.body.string_value for _, record in otlp.records)
    lines = Counter(json.loads(line.text)["log"] for line in loki.lines)
    expected = {text_of(number) for number in range(RECORDS)}
    assert texts.keys() == lines.keys() == expected
    # Loki keeps one of what came twice.
    assert set(lines.values()) == {1}
    numbers = {values_of(record.attributes)["n"] for _, record in otlp.records}
    assert numbers == set(range(RECORDS))
