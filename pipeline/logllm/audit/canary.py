"""Values that must not be seen anywhere, made up anew each time, each on a line of its own as programs log them."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from random import Random

__all__ = ["Canary", "canaries"]

_ALPHABETS = {
    "a": string.ascii_letters + string.digits,
    "b": string.ascii_letters + string.digits + "+/",
    "d": string.digits,
    "h": "0123456789abcdef",
    "l": string.ascii_lowercase,
    "p": string.ascii_letters + string.digits + "-_.!~",
    "u": string.ascii_letters + string.digits + "-_",
    "B": string.ascii_uppercase + "234567",
    "U": string.ascii_uppercase + string.digits,
}
_LEAST_CHARS = 6

# `{a36}` stands for 36 characters of an alphabet above, which are what is looked for. The bars are taken out: no
# scanner of sources is to take a form for a leak.
_SECRETS = {
    "aws key id": "using AK|IA{B16} for the upload",
    "aws secret key": "aws_secret_access_key={b40}",
    "aws signed url": "GET https://bucket.s3.amazonaws.com/k?X-Amz-Date=20260101T000000Z&X-Amz-Signature={h64}",
    "azure storage key": "AccountName=shop;AccountKey={b86}==;EndpointSuffix=core.windows.net",
    "azure sas": "GET https://shop.blob.core.windows.net/c/f?sv=2022-11-02&sp=r&sig={a43}%3D",
    "google api key": "key AI|za{u35} was refused",
    "google oauth": "refreshed ya|29.{u60}",
    "github": "push with gh|p_{a36}",
    "github, fine-grained": "push with github|_pat_{a22}_{a59}",
    "gitlab": "clone with gl|pat-{u20}",
    "slack": "posting as xo|xb-{d12}-{d13}-{a24}",
    "slack webhook": "POST https://hooks.slack.com/services/T{U10}/B{U10}/{a24}",
    "discord webhook": "POST https://discord.com/api/webhooks/{d18}/{u68}",
    "stripe": "charge with sk|_live_{a24}",
    "stripe webhook": "verified with wh|sec_{a32}",
    "openai": "model asked with sk|-proj-{a48}",
    "anthropic": "model asked with sk|-ant-api03-{u60}",
    "hugging face": "pull with hf|_{a34}",
    "npm": "publish with np|m_{a36}",
    "pypi": "upload with py|pi-AgEIcHlwaS5vcmc{u80}",
    "sendgrid": "mail by S|G.{u22}.{u43}",
    "twilio": "sms by S|K{h32}",
    "mailgun": "mail by ke|y-{h32}",
    "mailchimp": "list by {h32}-us12",
    "telegram": "bot {d9}:A|A{u33}",
    "digitalocean": "droplet by dop|_v1_{h64}",
    "shopify": "orders by shp|at_{h32}",
    "vault": "unsealed with hv|s.{u95}",
    "databricks": "job by da|pi{h32}",
    "grafana": "panel by gl|sa_{a32}_{h8}",
    "new relic": "NR|AK-{U27} was refused",
    "docker": "pull with dc|kr_pat_{u27}",
    "linear": "issue by li|n_api_{a40}",
    "atlassian": "page by AT|ATT3xFfGF0{u90}={h8}",
    "doppler": "secrets by d|p.pt.{a43}",
    "age": "AGE-|SECRET-KEY-1{U58}",
    "heroku": "dyno by HR|KU-{h8}-{h4}-{h4}-{h4}-{h12}",
    "pulumi": "stack by pu|l-{h40}",
    "planetscale": "branch by ps|cale_tkn_{u43}",
    "postman": "run by PM|AK-{h24}-{h34}",
    "jwt": "claims of ey|JhbGciOiJIUzI1NiJ9.ey|JzdWIiOi{u40}.{u43}",
    "authorization": "Authorization: Token {h40}",
    "bearer": "sent Bearer {u48}",
    "cookie": "Set-Cookie: sid={a32}; Path=/; HttpOnly",
    "password": "login of app failed, password={a14}",
    "password in JSON": 'body {"user": "app", "password": "{a14}"}',
    "password on a command line": "ran mysqldump -u app -p{a14} shop",
    "api key": 'config {"api_key": "{a32}"}',
    "client secret": "client_secret={u40} was rotated",
    "session": "JSESSIONID={U32} has expired",
    "connection string": "Server=tcp:db1,1433;User ID=app;Password={a16};Encrypt=true;",
    "database url": "connecting to postgres://app:{a18}@127.0.0.1:5432/shop",
    "broker url": "connecting to amqps://app:{a18}@127.0.0.1/vhost",
    "private key": "-----BEGIN RSA PRIVATE |KEY-----\n{b64}\n{b64}\n{b40}==\n-----END RSA PRIVATE |KEY-----",
}

_PERSONAL = {
    "email": "mail to {l12}@{l9}.example.com bounced",
    "user": "Failed password for invalid user {l11} from 127.0.0.1 port 22",
    "host": "no route to {l9}-{d2}.{l8}.example.net",
}


class Canary(NamedTuple):
    """One of them.

    Args:
        kind: What it is.
        is_secret: Else it belongs to a person or a machine, and is kept in this machine's own table of pseudonyms.
        parts: What nobody may see, each by itself.
        mark: A harmless word on the same line, which shows that the line has come somewhere.
        line: As a program logs it.
    """

    kind: str
    is_secret: bool
    parts: tuple[str, ...]
    mark: str
    line: str


def canaries(source: Random) -> list[Canary]:
    """More than fifty kinds of secrets, then of personal values.

    Args:
        source: Of chance, so that no two runs look for the same.
    """
    forms = [(kind, True, form) for kind, form in _SECRETS.items()]
    forms += [(kind, False, form) for kind, form in _PERSONAL.items()]
    made = [_made(kind, is_secret, form, at, source) for at, (kind, is_secret, form) in enumerate(forms)]
    made.append(_given("card", True, _card(source), "card {} was declined", len(made)))
    made.append(_given("iban", True, _iban(source), "transfer to {} failed", len(made)))
    v4 = ".".join(str(source.randrange(11, 224)) for _ in range(4))
    v6 = "2001:db8:" + ":".join(f"{source.randrange(0x1000, 0xFFFF):x}" for _ in range(6))
    made.append(_given("ip address", False, v4, "connection from {} refused", len(made)))
    made.append(_given("ip address, version 6", False, v6, "connection from {} refused", len(made)))
    return made


def _made(kind: str, is_secret: bool, form: str, number: int, source: Random) -> Canary:
    pieces: list[str] = []
    parts: list[str] = []
    text = form.replace("|", "")
    while text:
        before, brace, rest = text.partition("{")
        pieces.append(before)
        spec, closed, after = rest.partition("}")
        if brace and closed and spec[:1] in _ALPHABETS and spec[1:].isdigit():
            parts.append("".join(source.choices(_ALPHABETS[spec[0]], k=int(spec[1:]))))
            pieces.append(parts[-1])
            text = after
        else:
            pieces.append(brace)
            text = rest
    looked_for = tuple(part for part in parts if len(part) >= _LEAST_CHARS)
    return Canary(kind, is_secret, looked_for, _mark(number), f"{_mark(number)} {''.join(pieces)}")


def _given(kind: str, is_secret: bool, value: str, form: str, number: int) -> Canary:
    return Canary(kind, is_secret, (value,), _mark(number), f"{_mark(number)} {form.format(value)}")


def _mark(number: int) -> str:
    """Letters alone, of which no mask and no redaction makes anything."""
    return "probe" + "".join(chr(ord("a") + digit) for digit in (number // 100, number // 10 % 10, number % 10))


def _card(source: Random) -> str:
    number = "4" + "".join(source.choices(string.digits, k=14))
    total = sum(int(d) if at % 2 else sum(divmod(2 * int(d), 10)) for at, d in enumerate(reversed(number)))
    return number + str(-total % 10)


def _iban(source: Random) -> str:
    rest = "".join(source.choices(string.digits, k=18))
    check = 98 - int(f"{rest}131400") % 97
    return f"DE{check:02}{rest}"
