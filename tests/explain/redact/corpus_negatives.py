"""Lines that resemble secrets and hold none: numbers, digests, names and prose of ordinary logs, by a seeded chance."""

from __future__ import annotations

import base64
import json
import random
import uuid
from typing import TYPE_CHECKING

from tests.explain.redact.corpus_kinds import ALNUM, DIGITS, HEX, LOWER, UPPER, URL64, chars

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

__all__ = ["negatives"]

SERVICES = [
    "checkout",
    "payments",
    "inventory",
    "gateway",
    "search-index",
    "mailer",
    "auth-proxy",
    "token-service",
    "secret-santa",
]
STATES = [
    "valid",
    "invalid",
    "expired",
    "missing",
    "required",
    "refreshed",
    "rejected",
    "revoked",
    "unknown",
    "absent",
    "ok",
]
ROOTS = ["com.example.shop", "org.apache.hadoop.hdfs", "io.netty.channel", "org.springframework.security", "java.util"]
CLASSES = [
    "TokenBucketRateLimiter",
    "PasswordEncoderFactories",
    "SecretKeyFactory",
    "SessionRegistryImpl",
    "ApiKeyAuthenticationFilter",
    "CredentialsProviderChain",
    "BasicAuthenticationEntryPoint",
    "SecureRandomProvider",
]


def _hex(source: Random, count: int) -> str:
    return chars(source, HEX, count)


def _uuid(source: Random) -> str:
    return str(uuid.UUID(int=source.getrandbits(128), version=4))


def _not_a_card(source: Random) -> str:
    """Sixteen digits of a card's beginning whose check digit is wrong."""
    number = source.choice(["4", "51", "6011"])
    number += chars(source, DIGITS, 15 - len(number))
    total = sum(sum(divmod(2 * int(d), 10)) if place % 2 == 0 else int(d) for place, d in enumerate(reversed(number)))
    return number + str((-total + source.randrange(1, 10)) % 10)


def _not_an_iban(source: Random) -> str:
    rest = chars(source, DIGITS, 18)
    right = 98 - int(rest + "131400") % 97
    return f"DE{right % 97 + 1:02}{rest}"


def _time(source: Random) -> str:
    return (
        f"2026-{source.randrange(1, 13):02}-{source.randrange(1, 29):02}T{source.randrange(24):02}:"
        f"{source.randrange(60):02}:{source.randrange(60):02}.{source.randrange(10**6):06}Z"
    )


def _pod(source: Random) -> str:
    return f"{source.choice(SERVICES)}-{chars(source, 'bcdfghjklmnpqrstvwxz2456789', 10)}-{chars(source, LOWER, 5)}"


def _picture(source: Random) -> str:
    return base64.b64encode(source.randbytes(source.randrange(60, 300))).decode()


def _path(source: Random) -> str:
    return "/" + "/".join(
        source.choice(["usr", "lib", "python3", "site-packages", "srv", "Secrets", "token", "keys"]) for _ in range(5)
    )


# Each gives one line; a number in a name says nothing: all are tried equally often.
MAKERS: list[Callable[[Random], str]] = [
    lambda s: f"request {_uuid(s)} done in {s.randrange(900)} ms",
    lambda s: f"trace_id={_hex(s, 32)} span_id={_hex(s, 16)} parent={_hex(s, 16)} sampled=1",
    lambda s: f"traceparent: 00-{_hex(s, 32)}-{_hex(s, 16)}-01",
    lambda s: f"HEAD is now at {_hex(s, 40)} Fix token refresh",
    lambda s: f"merge {_hex(s, 7)}..{_hex(s, 7)} into main",
    lambda s: f"sha256:{_hex(s, 64)} pulled in {s.randrange(90)}s",
    lambda s: f"image registry.example.com/shop/{s.choice(SERVICES)}@sha256:{_hex(s, 64)} already present",
    lambda s: f"container {_hex(s, 64)} died (exit {s.randrange(256)})",
    lambda s: f"md5={_hex(s, 32)} sha1={_hex(s, 40)} size={s.randrange(10**8)}",
    lambda s: f"integrity sha512-{base64.b64encode(s.randbytes(64)).decode()} verified",
    lambda s: f'etag "{_hex(s, 32)}-{s.randrange(1, 99)}" matches',
    lambda s: f"SHA256:{base64.b64encode(s.randbytes(32)).decode().rstrip('=')} host key fingerprint of web-1",
    lambda s: (
        f"version {s.randrange(9)}.{s.randrange(30)}.{s.randrange(30)}-rc.{s.randrange(9)}+build.{s.randrange(10**6)}"
    ),
    lambda s: f"started at {_time(s)}, uptime {s.randrange(10**9)} ns, epoch {s.randrange(10**18, 2 * 10**18)}",
    lambda s: (
        f"build #{s.randrange(10**6)} of {s.choice(SERVICES)} passed: pass={s.randrange(999)} fail={s.randrange(9)}"
    ),
    lambda s: f"\tat {s.choice(ROOTS)}.{s.choice(CLASSES)}.doFilter({s.choice(CLASSES)}.java:{s.randrange(999)})",
    lambda s: f"{s.choice(ROOTS)}.{s.choice(CLASSES)}: token: unexpected end of stream",
    lambda s: (
        f"cannot open {_path(s)}/{s.choice(['id_rsa.pub', 'tokens.py', 'secret.yaml', 'password.txt'])}: "
        f"Permission denied"
    ),
    lambda s: f"order {_not_a_card(s)} accepted by {s.choice(SERVICES)}",
    lambda s: f"transfer {_not_an_iban(s)} refused: wrong check digits",
    lambda s: f"order {s.choice('1789')}{chars(s, DIGITS, 15)} packed",
    lambda s: f"blk_{s.choice(['', '-'])}{s.randrange(10**17, 10**18)} replicated to {s.randrange(9)} nodes",
    lambda s: (
        f"job_{s.randrange(10**12, 10**13)}_{s.randrange(10**4):04} "
        f"attempt_{s.randrange(10**12)}_m_{s.randrange(10**6):06}_0"
    ),
    lambda s: f"token={s.choice(['null', 'None', 'nil', 'undefined', 'true', 'false', '0', 'missing'])} user=none",
    lambda s: f"password: {s.choice(STATES)}",
    lambda s: (
        f"password={s.choice(['****', '********', '<redacted>', '[FILTERED]', 'REDACTED', 'xxxxx', '[HIDDEN]'])} "
        f"n={s.randrange(9)}"
    ),
    lambda s: (
        f"the {s.choice(['token', 'password', 'secret', 'API key', 'session', 'credential'])} is {s.choice(STATES)}"
    ),
    lambda s: f"secret santa draws {s.randrange(99)} names on {_time(s)[:10]}",
    lambda s: f"Password for user {s.choice(['bob', 'ann'])} was changed {s.randrange(1, 99)} days ago",
    lambda s: f"password must have at least {s.randrange(8, 20)} characters and {s.randrange(1, 3)} digits",
    lambda s: f"Invalid password: attempt {s.randrange(9)} of 5",
    lambda s: f"token expired {s.randrange(900)} seconds ago at {_time(s)}",
    lambda s: (
        f"max_tokens={s.randrange(4096)} prompt_tokens={s.randrange(999)} "
        f"completion_tokens: {s.randrange(999)} num_token={s.randrange(99)}"
    ),
    lambda s: json.dumps(
        {"usage": {"input_tokens": s.randrange(9999), "total_tokens": s.randrange(9999)}, "token_type": "bearer"}
    ),
    lambda s: json.dumps({"key": f"cart:{s.randrange(10**6)}", "ttl": s.randrange(999), "hit": True}),
    lambda s: json.dumps(
        {"key": chars(s, ALNUM, 12), "value": s.randrange(10**6), "primary_key": "id", "sort_key": _time(s)}
    ),
    lambda s: json.dumps(
        {"partition_key": _uuid(s), "routing_key": f"orders.{s.choice(LOWER)}", "cache_key": _hex(s, 32)}
    ),
    lambda s: (
        f"kafka key={s.randrange(10**9)} partition={s.randrange(64)} "
        f"offset={s.randrange(10**9)} topic={s.choice(SERVICES)}.events"
    ),
    lambda s: f'duplicate key value violates unique constraint "users_{s.choice(["email", "token", "api_key"])}_key"',
    lambda s: f"Key (id)=({s.randrange(10**9)}) already exists.",
    lambda s: f"thumbnail data:image/png;base64,{_picture(s)}",
    lambda s: f"body {_picture(s)} not understood",
    lambda s: f"pod default/{_pod(s)} restarted {s.randrange(9)} times",
    lambda s: (
        f"replicaset {s.choice(SERVICES)}-{chars(s, 'bcdfghjklmnpqrstvwxz2456789', 10)} scaled to {s.randrange(9)}"
    ),
    lambda s: f'secret "{s.choice(SERVICES)}-tls" not found in namespace prod',
    lambda s: f'MountVolume.SetUp failed for volume "default-token-{chars(s, LOWER, 5)}" : secret not registered',
    lambda s: f"secretName: {s.choice(SERVICES)}-tls",
    lambda s: (
        f"latency p50={s.random():.3f} p99={s.randrange(999)}.{s.randrange(99)} "
        f"rps={s.randrange(10**5)} err={s.random():.6f}"
    ),
    lambda s: f"mem 0x{_hex(s, 16)} rip 0x{_hex(s, 12)} cr3 {_hex(s, 16)}",
    lambda s: "hexdump " + " ".join(_hex(s, 2) for _ in range(16)),
    lambda s: f"serial {':'.join(chars(s, HEX.upper(), 2) for _ in range(8))} of certificate CN={s.choice(SERVICES)}",
    lambda s: (
        f"device {chars(s, UPPER + DIGITS, 4)}-{chars(s, UPPER + DIGITS, 4)}-{chars(s, UPPER + DIGITS, 4)} registered"
    ),
    lambda s: f"ticket {s.choice(['OPS', 'SRE', 'AB', 'PAY'])}-{s.randrange(10**6)} linked to commit {_hex(s, 12)}",
    lambda s: f"phone-like numbers: {s.randrange(10**9, 10**10)} items, +{s.randrange(10**4)} since {_time(s)[:10]}",
    lambda s: f"offset +{s.randrange(100, 1400):04} zone {_time(s)[:19]}+0{s.randrange(9)}:00",
    lambda s: f"range {s.randrange(999):03}-{s.randrange(999):03}-{s.randrange(9999):04}9 rows {s.randrange(10**9)}",
    lambda s: (
        f"{s.randrange(100):02}-{s.randrange(100):02}-{s.randrange(10**4):04} shelf "
        f"{s.randrange(10**3):03}.{s.randrange(10**3):03}.{s.randrange(10**3):03}"
    ),
    lambda s: (
        f"part {s.randrange(10**7, 10**8)}-{s.choice(UPPER)} weight "
        f"{s.randrange(10**5)} g, lot {s.randrange(10**17, 10**18)}"
    ),
    lambda s: f"sku {chars(s, UPPER, 2)}{chars(s, DIGITS, 6)}-{s.choice(UPPER)} and {chars(s, UPPER + DIGITS, 16)}",
    lambda s: f"X-Request-Id: {chars(s, URL64, 22)}",
    lambda s: f"GET /static/js/main.{_hex(s, 8)}.chunk.js?v={s.randrange(10**9)} HTTP/1.1 200",
    lambda s: f"GET /reset-password?lang=en&step={s.randrange(5)} HTTP/1.1 302 0",
    lambda s: f"POST /oauth/token HTTP/1.1 {s.choice([200, 400, 401])} {s.randrange(900)}",
    lambda s: (
        f"grant_type=refresh_token scope=read token_endpoint=https://auth.example.com/oauth/token n={s.randrange(9)}"
    ),
    lambda s: (
        f'WWW-Authenticate: {s.choice(["Basic", "Bearer"])} realm="shop", charset="UTF-8", code={s.randrange(400, 500)}'
    ),
    lambda s: f"Authorization header {s.choice(STATES)}, falling back to session {s.choice(STATES)}",
    lambda s: f"usage: tool --password PASSWORD --token TOKEN --retries {s.randrange(9)}",
    lambda s: f"flag --api-key is {s.choice(STATES)}; see --help",
    lambda s: f"password=${{DB_PASSWORD}} url=${{DB_URL:-none}} n={s.randrange(9)}",
    lambda s: f"SQL [where password = ? and token = ${s.randrange(1, 9)}] took {s.randrange(99)} ms",
    lambda s: f"def connect(host: str, password: str = None, token: bytes, retries: int = {s.randrange(9)})",
    lambda s: f"secret: {{{{ .Values.auth.secret }}}} token: %s rendered {s.randrange(99)} lines",
    lambda s: f"SyntaxError: Unexpected token '{s.choice('<}{;')}' at line {s.randrange(999)}",
    lambda s: f"mkdir -p /var/lib/{s.choice(SERVICES)}/{s.randrange(99)} && cp -a /src/{_hex(s, 8)} /dst",
    lambda s: (
        f"docker run -p {s.randrange(1024, 65536)}:80 -u 1000 -a stdout shop/{s.choice(SERVICES)}:1.{s.randrange(99)}"
    ),
    lambda s: f"ssh -p {s.randrange(1024, 65536)} web-{s.randrange(99)} exited with {s.randrange(256)}",
    lambda s: f"jdbc:postgresql://db-{s.randrange(9)}.example.com:5432/shop connected in {s.randrange(99)} ms",
    lambda s: f"redis://cache-{s.randrange(9)}.example.com:6379/0 is slow: {s.randrange(999)} ms",
    lambda s: f"https://shop.example.com:8443/items/{s.randrange(10**6)}?ref=mail@{_time(s)[:10]}",
    lambda s: f"sk-{s.choice(SERVICES)} pk-{s.randrange(99)} key-value store ready, hf_model=small npm_config=x",
    lambda s: (
        f"signature: {s.choice(['verified', 'ok', 'mismatch', '(Ljava/lang/String;)V'])} after {s.randrange(99)} ms"
    ),
    lambda s: f"session {s.randrange(10**4)} of {s.choice(SERVICES)} closed; session: opened",
    lambda s: (
        f"-----BEGIN CERTIFICATE----- expected in /etc/ssl/{s.choice(SERVICES)}.pem, found {s.randrange(99)} bytes"
    ),
    lambda s: f"ulid {''.join(s.choices('0123456789ABCDEFGHJKMNPQRSTVWXYZ', k=26))} ksuid {chars(s, ALNUM, 27)}",
    lambda s: f"i-{_hex(s, 17)} in vpc-{_hex(s, 17)} ami-{_hex(s, 17)} arn:aws:iam::{chars(s, DIGITS, 12)}:role/app",
    lambda s: f"_id={_hex(s, 24)} collection=users nreturned={s.randrange(99)} planCacheKey={chars(s, HEX.upper(), 8)}",
    lambda s: (
        f"{s.choice(CLASSES)}_{_hex(s, 8)}$Proxy{s.randrange(99)} "
        f"{s.choice(ROOTS)}.internal.{s.choice(CLASSES)}$$Lambda${s.randrange(999)}/0x{_hex(s, 16)}"
    ),
    lambda s: (
        f"gpu-{s.randrange(9)} {s.random():.2f} {s.random():.2f} {s.randrange(10**3)} "
        f"{s.randrange(10**4)} {s.randrange(10**4)} {s.randrange(10**4)}"
    ),
    lambda s: f"ids {s.randrange(10**4):04} {s.randrange(10**4):04} {s.randrange(10**4):04} checked",
    lambda s: f"cookie consent shown; Cookies: {s.choice(STATES)} for {s.randrange(99)} visitors",
    lambda s: (
        f"credentials: {s.choice(['default', 'anonymous', 'none', 'same-origin', 'include', 'omit'])} "
        f"mode {s.randrange(9)}"
    ),
]


def negatives(seed: int = 1, count: int = 5_200) -> list[str]:
    """`count` lines, all different in their numbers; the same for the same seed."""
    source = random.Random(seed)
    return [MAKERS[number % len(MAKERS)](source) for number in range(count)]
