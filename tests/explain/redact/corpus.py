"""Lines that hold a secret, of each kind in many places of a log, and lines that only look as if they did."""

from __future__ import annotations

import base64
import json
import random
import textwrap
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from tests.explain.redact.corpus_kinds import KEYED, PERSONAL, TOKENS, WHOLE, Made

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

__all__ = ["Positive", "positives", "survivors"]

RUN = 6
"""Characters in a row of a secret that tell something of it."""
ENCODED_RUN = 12


class Positive(NamedTuple):
    """A record's text with a secret in it.

    Args:
        kind: What secret it is.
        context: The way it stands there.
        parts: What must not be seen of it.
        run: This many characters of a part in a row are too many.
    """

    kind: str
    context: str
    text: str
    parts: tuple[str, ...]
    keyed: bool
    run: int = RUN


def survivors(positive: Positive, masked: str) -> list[str]:
    """What of the secret can still be read."""
    found = []
    for part in positive.parts:
        for form in {part, quote(part, safe="")}:
            run = min(positive.run, len(form))
            found += [form[at : at + run] for at in range(len(form) - run + 1) if form[at : at + run] in masked]
    return found


def _trace(secret: str) -> str:
    return (
        f"java.io.IOException: Server returned HTTP 401 for credential {secret}\n"
        "\tat com.example.shop.Client.call(Client.java:42)\n\tat java.base/java.lang.Thread.run(Thread.java:833)"
    )


BARE: dict[str, Callable[[str], str]] = {
    "prose": lambda s: f"request rejected: the credential {s} is not known here",
    "quoted": lambda s: f"could not use '{s}' against the upstream (attempt 3 of 5)",
    "logfmt": lambda s: f'ts=2026-01-05T10:00:00Z level=error msg="upstream said 401" value={s} attempt=3',
    "json": lambda s: json.dumps({"level": "error", "msg": "upstream said 401", "detail": {"value": s}, "n": 3}),
    "json array": lambda s: json.dumps({"args": ["--verbose", s, "--retries", "3"]}),
    "escaped json": lambda s: json.dumps({"log": json.dumps({"level": "warn", "value": s, "n": 1})}),
    "twice escaped": lambda s: json.dumps({"m": json.dumps({"log": json.dumps({"v": s})})}),
    "syslog": lambda s: f"Jan  5 10:00:00 web-1 app[811]: sent {s}, got 401",
    "stack trace": _trace,
    "python trace": lambda s: f'Traceback (most recent call last):\n  File "a.py", line 3, in f\nValueError: {s!r}',
    "xml": lambda s: f"<event><level>error</level><data>{s}</data></event>",
    "yaml": lambda s: f"error:\n  status: 401\n  sent: {json.dumps(s)}\n",
    "brackets": lambda s: f"[2026-01-05 10:00:00] [worker-3] [{s}] rejected",
    "go map": lambda s: f"config map[region:eu-1 value:{s} zone:b]",
}
LINE_BARE: dict[str, Callable[[str], str]] = {
    "query": lambda s: f'10.0.0.9 - - "GET /v1/items?id=3&v={quote(s, safe="")}&page=2 HTTP/1.1" 401 12',
    "at the end": lambda s: f"2026-01-05 10:00:00,123 ERROR [main] c.e.Client - not accepted: {s}",
}
AFTER_KEY: dict[str, Callable[[str, str], str]] = {
    "logfmt": lambda k, s: f"ts=2026-01-05T10:00:00Z level=info {k}={s} user=bob attempt=1",
    "logfmt quoted": lambda k, s: f'level=info {k}="{s}" attempt=1',
    "json": lambda k, s: json.dumps({"level": "info", "config": {k: s, "retries": 3}}),
    "compact json": lambda k, s: json.dumps({"a": 1, k: s, "z": [1, 2]}, separators=(",", ":")),
    "escaped json": lambda k, s: json.dumps({"log": json.dumps({k: s, "n": 1}), "stream": "stdout"}),
    "twice escaped": lambda k, s: json.dumps({"m": json.dumps({"log": json.dumps({k: s, "n": 2})})}),
    "yaml": lambda k, s: f"loaded config:\n  region: eu-1\n  {k}: {s}\n  retries: 3",
    "header": lambda k, s: f"> {k}: {s}\n> Accept: */*",
    "query": lambda k, s: f"GET /login?next=%2F&{k}={quote(s, safe='')}&lang=en HTTP/1.1",
    "xml element": lambda k, s: f"<config><{k}>{s}</{k}><port>80</port></config>",
    "xml attribute": lambda k, s: f'<bean id="ds" {k}="{s}" port="80"/>',
    "xml setting": lambda k, s: f'<add key="{k}" value="{s}" />',
    "name and value": lambda k, s: json.dumps({"env": [{"name": k, "value": s}, {"name": "PORT", "value": "80"}]}),
    "option": lambda k, s: f"exec: /usr/bin/tool --region eu-1 --{k.lower().replace('_', '-')} {s} --verbose",
    "option list": lambda k, s: f"running ['tool', '--{k.lower().replace('_', '-')}', '{s}', '-v']",
    "environment": lambda k, s: f"env: HOME=/root LANG=C.UTF-8 {k.upper()}={s} SHLVL=1",
    "export": lambda k, s: f"+ export {k.upper()}='{s}'",
    "java map": lambda k, s: f"properties {{region=eu-1, {k}={s}, timeout=30}}",
    "python dict": lambda k, s: f"kwargs={{'host': 'x', '{k}': '{s}', 'port': 1}}",
    "python repr": lambda k, s: f"Config(host='x', {k}='{s}', port=1)",
    "ruby hash": lambda k, s: f'Parameters: {{"utf8"=>"1", "{k}"=>"{s}", "commit"=>"Go"}}',
    "go struct": lambda k, s: f"{{Host:x Port:1 {k}:{s} Retries:3}}",
    "properties": lambda k, s: f"spring.datasource.{k} = {s}",
    "next line": lambda k, s: f"reading settings\n{k}:\n    {s}\nport:\n    80",
    "headers list": lambda k, s: f"headers=[('Host', 'x'), ('{k}', '{s}'), ('Accept', '*/*')]",
    "form": lambda k, s: f"body: user=bob&{k}={quote(s, safe='')}&remember=1",
}
PASSWORDS: dict[str, Callable[[str], str]] = {
    "identified by": lambda s: f"CREATE USER 'app'@'%' IDENTIFIED BY '{s}'",
    "identified with": lambda s: f"ALTER USER app IDENTIFIED WITH mysql_native_password BY '{s}';",
    "with password": lambda s: f"ALTER ROLE app WITH LOGIN PASSWORD '{s}' VALID UNTIL 'infinity'",
    "set password": lambda s: f"SET PASSWORD FOR 'app'@'%' = PASSWORD('{s}')",
    "login": lambda s: f"CREATE LOGIN app WITH PASSWORD = N'{s}', CHECK_POLICY = OFF",
    "mysql -p": lambda s: f"+ mysql -h db1 -u app -p{s} shop",
    "docker login": lambda s: f"+ docker login -u ci -p {s} registry.example.com",
    "sshpass": lambda s: f"sh -c sshpass -p '{s}' ssh bob@10.0.0.3",
    "curl -u": lambda s: f"$ curl -s -u admin:{s} https://api.example.com/v1",
    "redis-cli": lambda s: f"redis-cli -h cache -a {s} ping",
    "basic": lambda s: "Authorization: Basic " + base64.b64encode(f"admin:{s}".encode()).decode(),
}


def _bare(
    kind: str, made: Made, source: Random, count: int, contexts: dict[str, Callable[[str], str]]
) -> Iterator[Positive]:
    for name in source.sample(sorted(contexts), min(count, len(contexts))):
        yield Positive(kind, name, contexts[name](made.text), made.parts, keyed=False)


def _encoded(kind: str, made: Made, source: Random, around: str) -> Iterator[Positive]:
    """The text with the secret in base64, wrapped base64, and hex."""
    whole = base64.b64encode(around.encode()).decode()
    parts: tuple[str, ...]
    form = source.randrange(4)
    if form == 0:
        text, parts = f"payload={whole} size={len(around)}", (whole,)
    elif form == 1:
        text, parts = json.dumps({"message": {"data": whole, "id": "7"}}), (whole,)
    elif form == 2:
        lines = textwrap.wrap(whole, 76)
        text, parts = (
            "body:\n" + "\n".join(lines) + "\n-- end",
            tuple(line for line in lines if len(line) > ENCODED_RUN),
        )
    else:
        text, parts = f"raw bytes {around.encode().hex()} received", (around.encode().hex(),)
    yield Positive(kind, "encoded", text, (*parts, *made.parts), keyed=False, run=ENCODED_RUN)


def positives(seed: int = 1, per_kind: int = 26) -> list[Positive]:
    """At least 2,500 lines of all kinds; the same for the same seed."""
    source = random.Random(seed)
    found: list[Positive] = []
    for kind, make in TOKENS.items():
        found += [one for _ in range(2) for one in _bare(kind, make(source), source, per_kind // 2, BARE | LINE_BARE)]
        for _ in range(3):
            made = make(source)
            found += _encoded(kind, made, source, json.dumps({"event": "login", "value": made.text, "ok": False}))
    for kind, make in WHOLE.items():
        found += [one for _ in range(2) for one in _bare(kind, make(source), source, per_kind // 2, BARE)]
        made = make(source)
        found += _encoded(kind, made, source, f"level=info config={made.text} done")
    for kind, make in PERSONAL.items():
        found += [one for _ in range(2) for one in _bare(kind, make(source), source, per_kind // 2, BARE)]
    for kind, (keys, make) in KEYED.items():
        for name in sorted(AFTER_KEY):
            for _ in range(3 if kind == "password" else 1):
                key, made = source.choice(keys), make(source)
                text = AFTER_KEY[name](key, made.text)
                found.append(Positive(kind, f"{name} {key}", text, made.parts, keyed=True))
        for _ in range(3):
            made = make(source)
            found += _encoded(kind, made, source, json.dumps({"event": "login", source.choice(keys): made.text}))
    for name, place in PASSWORDS.items():
        for _ in range(6):
            made = KEYED["password"][1](source)
            parts = (base64.b64encode(f"admin:{made.text}".encode()).decode(),) if name == "basic" else made.parts
            found.append(Positive("password", name, place(made.text), parts, keyed=True))
    return found
