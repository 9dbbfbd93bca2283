"""The forward sink against a real receiver that others wrote: npm's @fluent-org/logger."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from logllm.errors import DeliveryError
from logllm.sinks.forward import ForwardSink, ForwardSinkConfig
from logllm.sinks.parcel import Parcel
from tests.sinks.certificates import certificates
from tests.sinks.forward_parts import Ledger, entry, parcel

HERE = Path(__file__).parent
PATIENCE_S = 60

pytestmark = pytest.mark.peer


class Receiver:
    """A running receive.cjs."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child
        assert child.stdout is not None
        self.address = f"127.0.0.1:{int(child.stdout.readline())}"
        self.got: list[dict[str, Any]] = []

    def finish(self) -> None:
        """Let it print what it has, and end it."""
        out, _ = self._child.communicate(timeout=PATIENCE_S)
        self.got = [json.loads(line) for line in out.splitlines()]


@contextmanager
def receiver(node: str, **options: str) -> Iterator[Receiver]:
    command = [node, "receive.cjs", json.dumps(options)]
    with subprocess.Popen(command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            running = Receiver(child)
            yield running
            running.finish()
        finally:
            child.kill()


def sink_for(running: Receiver, **options: Any) -> ForwardSink:
    return ForwardSinkConfig(running.address, legacy_entries=True, self_hostname="sender", **options).build(Ledger())


def expected(parcels: list[Parcel], texts: list[list[str]]) -> list[dict[str, Any]]:
    return [
        {"tag": sent.tag, "seconds": 1_700_000_000, "nanoseconds": 5, "record": {"log": text}}
        for sent, lines in zip(parcels, texts, strict=True)
        for text in lines
    ]


@pytest.mark.parametrize("compress", ["", "gzip"])
@pytest.mark.parametrize("mode", ["forward", "packed"])
def test_npms_server_receives_every_record_and_acknowledges_every_frame(node: str, mode: str, compress: str) -> None:
    texts = [[f"{i}.{j} é" for j in range(20)] for i in range(200)]
    parcels = [parcel(*lines, tag=f"app.{i % 3}") for i, lines in enumerate(texts)]
    texts.append(["a", "b"])
    parcels.append(parcel("a", "b", ids=[b"1", b"2"]))

    with receiver(node) as running:
        sink = sink_for(running, mode=mode, compress=compress)
        done = sink.write(parcels)
        sink.close()

    assert done == len(parcels)
    assert running.got == expected(parcels, texts)


@pytest.mark.parametrize("encrypted", ["plain", "tls"])
def test_npms_server_lets_us_in_with_its_key_and_user(node: str, tmp_path: Path, encrypted: str) -> None:
    (tmp_path / "key").write_text("k3y\n")
    (tmp_path / "password").write_text("p4ssword\n")
    secrets = {
        "shared_key_file": str(tmp_path / "key"),
        "username": "ann",
        "password_file": str(tmp_path / "password"),
    }
    server, ours = {}, {}
    if encrypted == "tls":
        made = certificates(tmp_path)
        server = {"cert": str(made.server), "certKey": str(made.server_key)}
        ours = {"tls": True, "tls_ca": str(made.ca)}

    with receiver(node, key="k3y", user="ann", password="p4ssword", **server) as running:
        sink = sink_for(running, **secrets, **ours)
        done = [sink.write([parcel("a")]), sink.write([parcel("b")])]
        sink.close()

    assert done == [1, 1]
    assert running.got == expected([parcel("a"), parcel("b")], [["a"], ["b"]])


def test_npms_server_says_why_a_wrong_key_is_refused(node: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("another\n")

    with receiver(node, key="k3y") as running:
        sink = sink_for(running, shared_key_file=str(tmp_path / "key"))
        with pytest.raises(DeliveryError, match="does not let us in: 'shared key mismatch'") as caught:
            sink.write([parcel("a")])

    assert (caught.value.kind, running.got) == ("handshake", [])


def test_npms_server_closes_on_entries_of_the_newer_form(node: str) -> None:
    with receiver(node) as running:
        sink = ForwardSinkConfig(running.address).build(Ledger())
        with pytest.raises(DeliveryError) as caught:
            sink.write([Parcel("t", entry("a"), 1)])

    assert (caught.value.kind, running.got) == ("closed", [])
