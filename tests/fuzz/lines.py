"""A few lines of each format of log files, and long lines made of short inputs."""

from __future__ import annotations

from tests.sources.formats.test_families import SAMPLES

__all__ = ["LINES", "stretched"]

_LONG_BYTES = 8192

LINES: dict[str, bytes] = {
    "json": b'{"time":"2024-01-02T03:04:05.678Z","level":"warn","service":"cart","msg":"took 12 ms"}\n'
    b'{"ts":1700000000.5,"severity":50,"log":{"x":[1,"a"]},"message":"b\\nc\\u0000\\ud800"}\nnot JSON\n{"a":1}',
    "logfmt": b'time=2024-01-02T03:04:05Z level=info msg="said \\"hi\\"" n=1\nlevel=error app=web msg=b\nplain',
    "cri": b"2024-01-02T03:04:05.678901234Z stdout F INFO hello\n2024-01-02T03:04:05Z stderr P half\n"
    b'2024-01-02T03:04:06Z stderr F  whole\n2024-01-02T03:04:07+02:00 stdout F {"level":"warn","msg":"x"}',
    "docker": b'{"log":"INFO hello\\n","stream":"stdout","time":"2024-01-02T03:04:05.678Z"}\n'
    b'{"log":"half","stream":"stderr","time":"2024-01-02T03:04:06Z"}\n'
    b'{"log":" whole\\n","stream":"stderr","time":"2024-01-02T03:04:07Z"}',
    "syslog": b"Jan  2 03:04:05 web-1 sshd[812]: Failed password for root\n<34>Feb 29 23:59:60 kernel: oops\n"
    b"2024-01-02T03:04:05+02:00 host app one[2] (x): text",
    "syslog5424": b'<34>1 2024-01-02T03:04:05.678Z host app 12 ID47 [a@1 k="v\\"]"] \xef\xbb\xbfmessage\n'
    b"<165>1 - host - - - - only\n<1>2 2024-01-02T03:04:05Z h a - - [x] ",
    "access": b'127.0.0.1 - bob [10/Oct/2023:13:55:36 -0700] "GET /a HTTP/1.1" 503 12 "-" "curl"\n'
    b'host:80 ::1 - - [10/Oct/2023:13:55:37 +0000] "-" 404 -',
    "klog": b"I0102 03:04:05.678901   12 main.go:34] started\nE20240102 03:04:05.6 1 a.c:2] x",
    "nginx": b"2024/01/02 03:04:05 [error] 31#31: *7 open() failed (2: No such file)",
    "apache": b"[Tue Jan 02 03:04:05.678 2024] [core:error] [pid 1:tid 2] AH1: text\n"
    b"[Tue Jan 02 03:04:05 2024] [notice] text",
    "postgres": b"2024-01-02 03:04:05.678 UTC [12] a@b LOG:  statement: x\n\tgoes on\n"
    b"2024-01-02 03:04:05 UTC [12-3]: [4] ERROR:  y",
    "plain": b"2024-01-02 03:04:05,678 INFO [main] a.b.C - hello 1\n    at a.b(C.java:1)\nCaused by: x\n"
    b"2024-01-02 03:04:06,001 WARN [main] a.b.C - hello 2\n2024-01-02 03:04:07,001 WARN [main] a.b.C - hello",
    "python": b"2024-01-02 03:04:05,678 - app.db - ERROR - failed\nTraceback (most recent call last):\n"
    b'  File "a.py", line 1, in f\nValueError: bad\n\nThe above exception was the direct cause of\n'
    b"2024-01-02 03:04:06,001 - app.db - INFO - ok\n",
    "log4j": b"03:04:05.678 [main] DEBUG o.e.App - hello\n03:04:06.678 [main] DEBUG o.e.App - hello\n",
    "text": b"panic: oops\n\ngoroutine 1 [running]:\nmain.f(0x1)\n\t/a.go:1\nexit status 2\n\r\n \n"
    b"plain\0 \xff\xfe text",
    "utf-16": "2024-01-02 03:04:05 INFO héllo\n".encode("utf-16"),
    **{name: text.encode()[:900] for name, (text, _) in SAMPLES.items()},
}
"""Bytes by the name of the format, or of the program that writes such lines."""


def stretched(data: bytes, number: int) -> bytes:
    """For the last few numbers below 64 a part of the data comes so often that it has 8 KiB."""
    if number < 60 or not data:
        return data
    begin = len(data) * (number - 60) // 4
    part = data[begin : begin + 1 + 3 * (number - 60)] or data[:1]
    return data[:begin] + part * (_LONG_BYTES // len(part)) + data[begin:]
