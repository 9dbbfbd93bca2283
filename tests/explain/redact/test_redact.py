from __future__ import annotations

import re
import threading
import time

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.errors import StateError
from logllm.explain.redact.redactor import Redactor

# Made up, in their issuers' forms; put together at run time so that no scanner takes this file for a leak.
SECRETS = {
    "aws key id": "AKIA" + "IOSFODNN7EXAMPLE",
    "google api key": "AIza" + "SyA1234567890abcdefghijklmnopqrstuv",
    "google oauth": "ya29." + "a0AfH6SMBx1234567890abcdef",
    "github": "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
    "github fine": "github_pat_" + "11AAAAAAA0aBcDeFgHiJkL_abcdefghijklmnop",
    "gitlab": "glpat-" + "xYz12345abcdeFGHIJ6789",
    "slack": "xoxb-" + "123456789012-1234567890123-AbCdEfGhIjKl",
    "stripe": "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "stripe hook": "whsec_" + "a1b2c3d4e5f6g7h8i9j0k1l2m3n4",
    "openai": "sk-proj-" + "abcdefghij1234567890ABCDEFGHIJ",
    "hugging face": "hf_" + "abcdefghijklmnopqrstuvwxyzABCDEF12",
    "npm": "npm_" + "abcdefghijklmnopqrstuvwxyz0123456789",
    "pypi": "pypi-AgE" + "IcHlwaS5vcmcCJDY3ZjQ4ZTA0LWFiY2Q",
    "sendgrid": "SG." + "abcdefghijklmnopqrstuv.wxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abc",
    "twilio": "SK" + "0123456789abcdef0123456789abcdef",
    "mailgun": "key-" + "0123456789abcdef0123456789abcdef",
    "telegram": "123456789:AA" + "EhBP0av28abcdefghijklmnopqrstuvwx",
    "digitalocean": "dop_v1_" + "0123456789abcdef" * 4,
    "shopify": "shpat_" + "0123456789abcdef0123456789abcdef",
    "vault": "hvs." + "CAESIJ1234567890abcdefghij",
    "databricks": "dapi" + "0123456789abcdef0123456789abcdef",
    "grafana": "glsa_" + "abcdefghijklmnopqrstuvwxyzABCDEF_12345678",
    "new relic": "NRAK-" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ1",
    "docker": "dckr_pat_" + "abcdefghijklmnopqrstuvwxyz1",
    "jwt": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
    "card": "4111 1111 1111 1111",
    "amex": "378282246310005",
    "iban": "DE89 3704 0044 0532 0130 00",
    "private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----",
}
KEYED = [
    ("password={}", "hunter2horse"),
    ("DB_PASSWORD: {}", "s3cr3t!pass"),
    ('{{"password":"{}","n":1}}', 'a\\"b c'),
    ("{{'api_key': '{}'}}", "k-123 456"),
    ("api-key => {}", "abcdef123"),
    ("aws_secret_access_key={}", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ("GET /cb?access_token={}&x=1 HTTP/1.1", "abc.def-ghi"),
    ('msg="{{\\"token\\":\\"{}\\"}}"', "abcd1234"),
    ("Authorization: Bearer {}", "abcdef1234567"),
    ("authorization: Basic {}", "dXNlcjpwYXNzd29yZA=="),
    ("curl -H 'X-Api-Key: {}'", "zyx987"),
    ("postgres://bob:{}@db.internal:5432/x", "p4ss%21word"),
    ("Set-Cookie: {}; Path=/", "sid=abc123def"),
    ("mysql -u root -p{} db", "Tr0ub4dor"),
    ("Server=x;Password={};Database=y", "w1nd0ws"),
    ("AccountKey={};Endpoint", "abc123+/def=="),
    ("client_secret: {}", "aaaa-bbbb-1"),
]


@pytest.mark.parametrize("kind", SECRETS)
def test_every_kind_of_secret_is_masked_wherever_it_stands(kind: str) -> None:
    secret = SECRETS[kind]
    redactor = Redactor()

    for around in ("{}", "got {} from it", "x={}", '"{}"', "[{}]"):
        masked = redactor.mask(around.format(secret))

        assert secret not in masked
        assert "<secret_1>" in masked


@pytest.mark.parametrize(("form", "secret"), KEYED)
def test_the_value_after_a_key_that_names_a_secret_is_masked(form: str, secret: str) -> None:
    masked = Redactor().mask(form.format(secret))

    assert secret not in masked
    assert re.search(r"<secret_\d+>", masked)


@pytest.mark.parametrize(
    "line",
    [
        "Failed password for root from",
        "unexpected token: expected }",
        "max_tokens=100",
        "PWD=/root ; USER=root",
        "no password supplied",
        "at org.apache.hadoop.hdfs.DataNode.main(DataNode.java:12)",
        "java.net.SocketException: Connection reset",
        "main.py README.md config.toml app.js libc.so",
        "std::string a::b 12:30:45 ::1 127.0.0.1 0.0.0.0:8080",
        "version v1.2.3.4 took 12.5 ms",
        "order 4111111111111112 of 1234567890123",
        "sessionid=0x24ed93119420082",
        "blk_4343430160884240010 size 67108864",
        "Basic authentication failed, Bearer realm",
        "listening on localhost:8080",
        "logname= uid=0 euid=0 ruser= user=root",
        "user: not found",
    ],
)
def test_what_only_resembles_stays_as_it_is(line: str) -> None:
    assert Redactor().mask(line) == line


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ("from 203.0.113.9:22 to 2001:db8::1", "from <ip_1>:22 to <ip_2>"),
        ("mail to ann@example.com now", "mail to <email_1> now"),
        ("dev 00:1a:2b:3c:4d:5e up", "dev <mac_1> up"),
        ("lookup payments.svc.cluster.local: no such host", "lookup <host_1>: no such host"),
        ("GET https://api.example.com/v1/x", "GET https://<host_1>/v1/x"),
        ("at node-7/10.0.0.7:9000", "at <host_1>/<ip_1>:9000"),
        ("rhost=ns.example.co", "rhost=<host_1>"),
        ("Failed password for invalid user bob from 10.0.0.1", "Failed password for invalid user <user_1> from <ip_1>"),
        ("Accepted publickey for bob from 10.0.0.1", "Accepted publickey for <user_1> from <ip_1>"),
        ("session opened for user bob by (uid=0)", "session opened for user <user_1> by (uid=0)"),
        ("sudo: bob : TTY=pts/0 ; PWD=/home/bob", "sudo: <user_1> : TTY=pts/0 ; PWD=/home/<user_1>"),
        ("Access denied for user 'bob'@'10.0.0.3'", "Access denied for user '<user_1>'@'<ip_1>'"),
        ('{"user":"bob","ip":"10.0.0.3"}', '{"user":"<user_1>","ip":"<ip_1>"}'),
        ("ssh bob@10.2.3.4", "ssh <user_1>@<ip_1>"),
    ],
)
def test_addresses_hosts_and_people_get_pseudonyms(line: str, masked: str) -> None:
    redactor = Redactor()

    assert redactor.mask(line) == masked
    assert redactor.reveal(masked) == line


def test_the_same_value_keeps_its_pseudonym_over_lines_and_restarts() -> None:
    first = Redactor()
    first.mask("10.0.0.1 10.0.0.2 token=abcdef1")
    state = msgpack.unpackb(msgpack.packb(first.state()))

    second = Redactor.from_state(state)

    assert (
        second.mask("10.0.0.2 10.0.0.3 token=abcdef1 token=zzz999") == "<ip_2> <ip_3> token=<secret_1> token=<secret_2>"
    )
    assert second.reveal("<ip_1>") == "10.0.0.1"


def test_secrets_never_come_back_and_are_in_no_state() -> None:
    redactor = Redactor()
    masked = redactor.mask("password=hunter2horse from 10.0.0.1")

    assert redactor.reveal(masked, kinds=("ip", "secret")) == "password=<secret_1> from 10.0.0.1"
    assert redactor.reveal(masked, kinds=()) == masked
    assert b"hunter2horse" not in msgpack.packb(redactor.state())


def test_the_table_is_bounded_and_later_values_stay_stable() -> None:
    redactor = Redactor(max_values=2)

    masked = redactor.mask("10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.3")

    first, second, third, again = masked.split()
    assert (first, second) == ("<ip_1>", "<ip_2>")
    assert third == again
    assert third.startswith("<ip_x")
    assert redactor.reveal(third) == third
    assert redactor.mask(masked) == masked


@pytest.mark.parametrize(
    "state", [{}, {"version": 2}, {"version": 1, "key": 3}, {"version": 1, "key": b"x", "values": 7}]
)
def test_a_state_that_is_not_ours_is_refused(state: dict[str, object]) -> None:
    with pytest.raises(StateError, match="redactor state"):
        Redactor.from_state(state)


PIECES = st.one_of(
    st.sampled_from(
        [
            "10.1.2.3",
            "::ffff:1.2.3.4",
            "fe80::1%eth0",
            "a@b.co",
            "password=",
            '"token":"',
            "user=",
            "for user ",
            "<ip_1>",
            "<secret_",
            "<secret_1>",
            "<phone_2>",
            "password: monkey ",
            "api_key = ",
            "-H 'X-Api-Key: ",
            "--token ",
            "<password>",
            "</password>",
            "name=secret value=",
            "IDENTIFIED BY '",
            "%3Dtoken%3D",
            "cGFzc3dvcmQ9aHVudGVyMi14eXotOTk5",
            "hunter2-xyz-999",
            "+1 415 555 2671",
            "AKIAIOSFODNN7EXAMPLE",
        ]
    ),
    st.sampled_from(
        [
            "://x:y@",
            "eyJ",
            "host-1.example.com",
            "/home/",
            "Bearer ",
            "-----BEGIN PRIVATE KEY-----",
            "4111111111111111",
            '\\"',
            "'",
        ]
    ),
    st.text(alphabet=" abcXYZ019.:/@=-_<>\"'\\%;,", max_size=12),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=12).map("".join))
def test_masking_twice_changes_nothing_more(text: str) -> None:
    redactor = Redactor()
    once = redactor.mask(text)

    assert redactor.mask(once) == once


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(PIECES, max_size=6).map("".join), max_size=6))
def test_lines_masked_together_are_masked_and_as_many(texts: list[str]) -> None:
    redactor = Redactor()

    once = redactor.mask_lines(texts)

    assert len(once) == len(texts)
    assert redactor.mask_lines(once) == once


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([*SECRETS.values()]),
    st.text(alphabet=" abc019=:,;\"'[]{}()", max_size=20),
    st.text(alphabet=" ,;\"']})", max_size=20),
)
def test_no_secret_survives_what_stands_around_it(secret: str, before: str, after: str) -> None:
    before = before if not before or not before[-1].isalnum() else before + " "
    masked = Redactor().mask(f"{before} {secret}{after}")

    assert secret not in masked


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "password",
        "a.",
        "1.",
        ":",
        "a@",
        "1 ",
        '\\"',
        "eyJ",
        "http://",
        "cookie=",
        "AA00 ",
        "-",
        "for user ",
        "0:",
        "mysql ",
        "user=",
        "x=",
        "<ip_",
    ],
)
def test_a_line_of_a_megabyte_takes_less_than_three_seconds(unit: str) -> None:
    line = unit * (1_000_000 // len(unit))
    began = time.process_time()

    Redactor().mask(line)

    assert time.process_time() - began < 3.0


@pytest.mark.parametrize(
    "unit",
    [
        "password=",
        "password=b7,",
        'password=\\"',
        "password: a ",
        "token=[",
        "<password>",
        "&lt;password&gt;x",
        'name="password" ',
        "--token ",
        "-----BEGIN PRIVATE KEY-----\nA",
        "QUFB",
        "A" * 64 + "\n",
        "%41",
        "%",
        "+1 2",
        "1234-",
        "DE89 ",
        "$argon2id$",
        "curl -u a:",
        "M" * 24 + ".",
        "/1.1.1.1",
        "password=<secret_1>",
        "ENV a ",
        "password for a: ",
        "[",
        "\\",
    ],
)
def test_four_times_the_text_is_not_much_more_than_four_times_the_work(unit: str) -> None:
    spent = []
    for size in (20_000, 80_000):
        line = unit * (size // len(unit))
        began = time.process_time()
        Redactor().mask(line)
        spent.append(time.process_time() - began)

    assert spent[1] < 10.0 * spent[0] + 0.5


def test_threads_agree_on_the_pseudonyms() -> None:
    redactor = Redactor()
    lines = [f"from 10.0.{number % 7}.{number % 50}" for number in range(400)]
    results: list[list[str]] = []

    def work() -> None:
        results.append([redactor.mask(line) for line in lines])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(result == results[0] for result in results)
    assert [redactor.reveal(line) for line in results[0]] == lines
