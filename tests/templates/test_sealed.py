"""Templates without secrets, and keys that are saved as hashes: known again, and nothing can be read from them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.errors import StateError
from logllm.explain.redact.redactor import without_secrets
from logllm.templates.keys import AMBIGUOUS, MISSING, OVERFLOWED, Keys
from logllm.templates.miner import Miner
from logllm.templates.saved import SavedKeys, SavedLedger

_LINES = st.lists(
    st.builds(
        "{} {} of {}".format,
        st.sampled_from(["login", "E1", "http2 get", "req 0123456789abcdef01 got", '{"event":"login","n":']),
        st.sampled_from(["alpha", "beta", "took 5 ms", "password=monkey", "password=hunterxyz", "x" * 30]),
        st.sampled_from(["bob", "eve", "3}", "deadbeefdeadbeef", "db"]),
    ),
    max_size=40,
)


def again(miner: Miner, key: bytes = b"k") -> Miner:
    return Miner.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(miner.state(key))), without_secrets)


@given(_LINES, _LINES, st.integers(1, 6))
def test_a_restored_miner_goes_on_as_the_saved_one(first: list[str], rest: list[str], most_keys: int) -> None:
    miner = Miner(max_keys=most_keys, max_new=12, hide=without_secrets)
    miner.ids(first)
    restored = again(miner)

    for line in rest:
        assert restored.ids([line]).tolist() == miner.ids([line]).tolist()
        restored = again(restored)

    assert restored.state(b"k") == miner.state(b"k")


@given(_LINES, st.integers(1, 7))
def test_templates_without_secrets_do_not_depend_on_how_lines_are_cut(lines: list[str], size: int) -> None:
    whole, parts = Miner(hide=without_secrets), Miner(hide=without_secrets)

    told = whole.ids(lines).tolist()
    again = [index for at in range(0, len(lines), size) for index in parts.ids(lines[at : at + size]).tolist()]

    assert [parts.canonical(index) for index in again] == told
    assert [each.text for each in parts.templates()] == [each.text for each in whole.templates()]
    assert not any("monkey" in each.text or "hunter" in each.text for each in whole.templates())


def test_a_secret_is_a_parameter_and_two_of_them_are_of_one_template() -> None:
    miner = Miner(hide=without_secrets)

    found = miner.ids(
        ["push with ghp_" + "qz" * 18, "push with ghp_" + "wy" * 18, "curl -u app:monkeyZ x", "took 5 ms"]
    )

    assert found.tolist() == [0, 0, 1, 2]
    assert [miner.template(index).text for index in (0, 1, 2)] == [
        "push with <id>",
        "curl -u app:<id> x",
        "took <num> ms",
    ]
    assert miner.parameters(0, "push with ghp_" + "vk" * 18) == ["ghp_" + "vk" * 18]
    assert Miner().ids(["push with ghp_" + "qz" * 18, "push with ghp_" + "wy" * 18]).tolist() == [0, 1]


def test_nothing_of_a_known_line_can_be_read_in_a_saved_state() -> None:
    miner = Miner(hide=without_secrets)
    miner.ids(["login with password=monkeytrousers", "plainly said"])

    saved = msgspec.msgpack.encode(miner.state(b"key"))

    assert b"monkey" not in saved
    assert b"plainly said" in saved
    assert miner.state(b"other")["keys"]["young"] != miner.state(b"key")["keys"]["young"]


def test_a_state_with_bare_keys_is_taken_back_and_forgets_templates_with_secrets() -> None:
    plain = Miner()
    plain.ids(["set password monkey", "took 5 ms"])
    state = plain.state()
    keys = list(plain._mining.keys.young.items())
    values = b"".join(value.to_bytes(4, "little", signed=True) for _, value in keys)
    bare = b"\0".join(key for key, _ in keys)
    state["keys"] = {"capacity": 9, "young": bare, "young_values": values, "old": b"", "old_values": b""}

    restored = Miner.restore(state, without_secrets)

    assert [each.text for each in restored.templates()] == ["took <num> ms"]
    assert restored.drain_changes().evicted == [0]
    assert restored.ids(["took 7 ms", "set password monkey"]).tolist() == [1, 2]
    assert b"monkey" not in msgspec.msgpack.encode(restored.state())


@given(st.lists(st.tuples(st.sampled_from("abcdefg"), st.sampled_from([AMBIGUOUS, OVERFLOWED, 0, 1])), max_size=40))
def test_sealed_keys_say_what_the_keys_said(puts: list[tuple[str, int]]) -> None:
    ledger = SavedLedger(2, b"", b"", b"", b"", bytes(2), b"", [], [], [], [])
    keys = Keys(3)

    for name, value in puts:
        sealed = SavedKeys.of(keys, b"k")
        sealed.check(ledger)
        other = sealed.back()
        assert len(other) == len(keys)
        assert [other.get(each.encode()) for each in "abcdefg"] == [keys.get(each.encode()) for each in "abcdefg"]
        assert SavedKeys.of(other, b"k") == SavedKeys.of(keys, b"k")
        keys.put(name.encode(), value)

    assert keys.get(b"z") == MISSING


@pytest.mark.parametrize(
    "damage", [{"young": bytes(7)}, {"young": bytes(16)}, {"key": bytes(65)}, {"young_values": bytes(8)}]
)
def test_damaged_keys_are_refused(damage: dict[str, object]) -> None:
    miner = Miner()
    miner.ids(["took 5 ms"])
    state = miner.state(b"k")
    state["keys"] |= damage

    with pytest.raises(StateError):
        Miner.restore(state)
