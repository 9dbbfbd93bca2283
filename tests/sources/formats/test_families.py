"""Headers of many programs, in lines of our own: what comes out is the message, the time, the level, the service.

One sample a shape, as short as a shape can be told by. A new shape is a new entry here, not a new branch there.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

import pytest

from logllm.events import Severity, rfc3339
from logllm.sources.formats.detect import detect

REFERENCE = int(datetime(2018, 6, 30, 21, tzinfo=UTC).timestamp()) * 1_000_000_000


class Expected(NamedTuple):
    """One record: the time's beginning, the severity's name, the service, the message."""

    time: str
    severity: str
    service: str
    message: str


def read(lines: list[str]) -> list[Expected]:
    columns = detect(lines, reference_ns=REFERENCE, default_service="app").parse(lines)
    return [
        Expected(rfc3339(int(time)), Severity(int(severity)).name, columns.service_names[code], message)
        for time, severity, code, message in zip(
            columns.time_ns, columns.severity, columns.service_codes, columns.messages, strict=True
        )
    ]


UNSPECIFIED, DEBUG, INFO, WARN, ERROR, FATAL, TRACE = (
    "UNSPECIFIED", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "TRACE",
)  # fmt: skip

SAMPLES: dict[str, tuple[str, list[Expected]]] = {
    "mac": (
        """\
Jun  1 09:00:55 lab-mac-7 kernel[0]: AppleThing<2>(0x0)::listen - route = 0x0 port = 11
Jun  1 09:01:05 lab-mac-7 com.example.Scheduler[43]: Thermal state: 1 Memory state: 0
Jun  1 09:02:06 lab-mac-7 Chat[10018]: FA||Url||task[2019] freed
Jun  1 09:03:18 lab-mac-7 com.apple.xpc.launchd[1] (com.example.agent.B1A0): Service exited with code: 1
Jun  1 09:04:33 lab-mac-7 Text Editor[14463]: Unable to find the sheet
Jun  1 09:04:37 lab-mac-7 --- last message repeated 1 time ---
Jun 12 09:04:38 lab-mac-7 secd[276]:  handler cloud[326] failed""",
        [
            Expected(
                "2018-06-01T09:00:55", UNSPECIFIED, "kernel", "AppleThing<2>(0x0)::listen - route = 0x0 port = 11"
            ),
            Expected("2018-06-01T09:01:05", UNSPECIFIED, "com.example.Scheduler", "Thermal state: 1 Memory state: 0"),
            Expected("2018-06-01T09:02:06", UNSPECIFIED, "Chat", "FA||Url||task[2019] freed"),
            Expected("2018-06-01T09:03:18", UNSPECIFIED, "com.apple.xpc.launchd", "Service exited with code: 1"),
            Expected("2018-06-01T09:04:33", UNSPECIFIED, "Text Editor", "Unable to find the sheet"),
            Expected("2018-06-01T09:04:37", UNSPECIFIED, "app", "--- last message repeated 1 time ---"),
            Expected("2018-06-12T09:04:38", UNSPECIFIED, "secd", "handler cloud[326] failed"),
        ],
    ),
    "thunderbird": (
        """\
- 1131566461 2005.11.09 cn228 Nov 9 12:01:01 cn228/cn228 crond(pam_unix)[2915]: session closed for user ann
- 1131566463 2005.11.09 tadmin1 Nov 10 12:01:03 local@tadmin1 /opt/monitor-3.0.1/sbin/monitord[1682]: no answer
- 1131566473 2005.11.09 aadmin1 Nov 10 12:01:13 src@aadmin1 fabric.x[24904]: [sweep.c:1455]: No change
- 1131566473 2005.11.09 eadmin1 Nov 10 12:01:13 src@eadmin1 dhcpd: DISCOVER from 00:11:22:33:44:55 via eth1
- 1131566479 2005.11.09 badmin1 Nov 10 12:01:19 badmin1/badmin1 Server Administrator: Service EventID: 1000  A value
MEM 1131566481 2005.11.09 cn73 Nov 10 12:01:21 cn73/cn73 kernel: ACPI: LAPIC (id[0x01] enabled)
- 1131566482 2005.11.09 cn754 Nov 10 12:01:22 cn754/cn754 ntpd[11231]: synchronized to 10.0.0.2, stratum 3""",
        [
            Expected("2005-11-09T20:01:01", UNSPECIFIED, "crond", "session closed for user ann"),
            Expected("2005-11-09T20:01:03", UNSPECIFIED, "monitord", "no answer"),
            Expected("2005-11-09T20:01:13", UNSPECIFIED, "fabric.x", "[sweep.c:1455]: No change"),
            Expected("2005-11-09T20:01:13", UNSPECIFIED, "dhcpd", "DISCOVER from 00:11:22:33:44:55 via eth1"),
            Expected("2005-11-09T20:01:19", UNSPECIFIED, "Server Administrator", "Service EventID: 1000  A value"),
            Expected("2005-11-09T20:01:21", UNSPECIFIED, "kernel", "ACPI: LAPIC (id[0x01] enabled)"),
            Expected("2005-11-09T20:01:22", UNSPECIFIED, "ntpd", "synchronized to 10.0.0.2, stratum 3"),
        ],
    ),
    "android": (
        """\
03-17 16:13:38.811  1702  2395 D WindowThing: freezing app token = Token{9f4ef63 Record{de9 u0}}, drawn= false
03-17 16:13:38.819  1702  8671 I PowerThing: acquire lock=23, flags=0x1, tag="View Lock"
03-17 16:13:38.820  1702  8671 I chatty  : uid=1000(system) Binder_7 expire 2 lines
03-17 16:13:38.859  2227  2227 W TextThing: visible is system.time
03-17 16:13:38.863  2227  2227 V StatusBar: lights(true)
03-17 16:13:39.033 12345 23456 E Two Words: spaced
03-17 16:13:39.034 12345 23456 F StatusBar: gone""",
        [
            Expected(
                "2018-03-17T16:13:38.811Z",
                DEBUG,
                "app",
                "freezing app token = Token{9f4ef63 Record{de9 u0}}, drawn= false",
            ),
            Expected("2018-03-17T16:13:38.819Z", INFO, "app", 'acquire lock=23, flags=0x1, tag="View Lock"'),
            Expected("2018-03-17T16:13:38.820Z", INFO, "app", "uid=1000(system) Binder_7 expire 2 lines"),
            Expected("2018-03-17T16:13:38.859Z", WARN, "app", "visible is system.time"),
            Expected("2018-03-17T16:13:38.863Z", TRACE, "app", "lights(true)"),
            Expected("2018-03-17T16:13:39.033Z", ERROR, "app", "spaced"),
            Expected("2018-03-17T16:13:39.034Z", FATAL, "app", "gone"),
        ],
    ),
    "cluster with an epoch in the fifth column": (
        """\
134681 node-246 unix.hw state_change.unavailable 1077804742 1 Component State Change: Component \\042alt0\\042 is down
350766 node-109 unix.hw state_change.unavailable 1084680778 1 Component State Change: Component \\042alt1\\042 is down
460903 node-70 unix.hw net.up 1112384062 1 NIF: node node-70 has found a network on 5.5.224.0
24512 gige7 gige temperature 1148181102 1 ambient=29
2567529 Link-0N00 switch_module fan 1145552214 1 Fan speeds ( 3552 3534 **** 3479 )""",
        [
            Expected(
                "2004-02-26T14:12:22", UNSPECIFIED, "app", "Component State Change: Component \\042alt0\\042 is down"
            ),
            Expected(
                "2004-05-16T04:12:58", UNSPECIFIED, "app", "Component State Change: Component \\042alt1\\042 is down"
            ),
            Expected("2005-04-01T19:34:22", UNSPECIFIED, "app", "NIF: node node-70 has found a network on 5.5.224.0"),
            Expected("2006-05-21T03:11:42", UNSPECIFIED, "app", "ambient=29"),
            Expected("2006-04-20T16:56:54", UNSPECIFIED, "app", "Fan speeds ( 3552 3534 **** 3479 )"),
        ],
    ),
    "fields between bars, numbers without zeros": (
        """\
20171223-22:15:29:606|Step_One|30002312|onChanged 3579
20171223-22:15:29:615|Step_One|30002312|extend:1514038530000 14 0 4
20171223-22:15:29:633|Step_Receiver|30002312|action: android.intent.SCREEN_ON
20171224-0:5:9:6|Sync_Control|30002312|check | type:5""",
        [
            Expected("2017-12-23T22:15:29.606Z", UNSPECIFIED, "app", "onChanged 3579"),
            Expected("2017-12-23T22:15:29.615Z", UNSPECIFIED, "app", "extend:1514038530000 14 0 4"),
            Expected("2017-12-23T22:15:29.633Z", UNSPECIFIED, "app", "action: android.intent.SCREEN_ON"),
            Expected("2017-12-24T00:05:09.006Z", UNSPECIFIED, "app", "check | type:5"),
        ],
    ),
    "proxifier": (
        """\
[10.30 16:49:06] browser.exe - proxy.example.org:5070 open through proxy proxy.example.org:5070 HTTPS
[10.30 16:49:07] browser.exe *64 - proxy.example.org:5070 close, 0 bytes sent, lifetime <1 sec
[10.30 16:49:08] Chat.exe *64 - 10.0.0.1:80 error : Could not connect - refused, status code 403
[10.30 16:49:09] Sync.exe - d.example.com:443 open through proxy""",
        [
            Expected(
                "2017-10-30T16:49:06",
                UNSPECIFIED,
                "app",
                "proxy.example.org:5070 open through proxy proxy.example.org:5070 HTTPS",
            ),
            Expected(
                "2017-10-30T16:49:07", UNSPECIFIED, "app", "proxy.example.org:5070 close, 0 bytes sent, lifetime <1 sec"
            ),
            Expected(
                "2017-10-30T16:49:08",
                UNSPECIFIED,
                "app",
                "10.0.0.1:80 error : Could not connect - refused, status code 403",
            ),
            Expected("2017-10-30T16:49:09", UNSPECIFIED, "app", "d.example.com:443 open through proxy"),
        ],
    ),
    "spark": (
        """\
17/06/09 20:10:40 INFO executor.GrainedBackend: Registered handlers for [TERM, HUP, INT]
17/06/09 20:10:40 INFO spark.Security: Changing acls to: ann,bob
17/06/09 20:10:41 INFO Remoting: Starting
17/06/09 20:10:45 WARN spark.Env: late: yes""",
        [
            Expected("2017-06-09T20:10:40", INFO, "app", "Registered handlers for [TERM, HUP, INT]"),
            Expected("2017-06-09T20:10:40", INFO, "app", "Changing acls to: ann,bob"),
            Expected("2017-06-09T20:10:41", INFO, "app", "Starting"),
            Expected("2017-06-09T20:10:45", WARN, "app", "late: yes"),
        ],
    ),
    "windows servicing": (
        """\
2016-09-28 04:30:30, Info                  CBS    Loaded Stack v6.1.7601 with Core: C:\\Windows\\core.dll
2016-09-28 04:30:31, Info                  CSI    00000001@2016/9/27:20:30:31.455 Initialize (stack @0x7fed)
2016-09-28 04:30:31, Info                  CBS    SQM: Initializing online: False
2016-09-28 04:30:31, Error                 CBS    Failed to get element [HRESULT = 0x800f080d]""",
        [
            Expected("2016-09-28T04:30:30", INFO, "app", "Loaded Stack v6.1.7601 with Core: C:\\Windows\\core.dll"),
            Expected("2016-09-28T04:30:31", INFO, "app", "00000001@2016/9/27:20:30:31.455 Initialize (stack @0x7fed)"),
            Expected("2016-09-28T04:30:31", INFO, "app", "SQM: Initializing online: False"),
            Expected("2016-09-28T04:30:31", ERROR, "app", "Failed to get element [HRESULT = 0x800f080d]"),
        ],
    ),
    "klog": (
        """\
I0102 15:04:05.000123   12345 file.go:123] hello there
E0102 15:04:06.000123   12345 file.go:124] bad: thing
W0102 15:04:06.000123       1 reflector.go:424] client: failed""",
        [
            Expected("2018-01-02T15:04:05.000Z", INFO, "app", "hello there"),
            Expected("2018-01-02T15:04:06.000Z", ERROR, "app", "bad: thing"),
            Expected("2018-01-02T15:04:06.000Z", WARN, "app", "client: failed"),
        ],
    ),
    "python logging": (
        """\
2017-01-02 03:04:05,123 - my.app - INFO - started
2017-01-02 03:04:05,124 - my.app.db - ERROR - failed
Traceback (most recent call last):
  File "x.py", line 1, in <module>
ValueError: bad
2017-01-02 03:04:06,124 - my.app - WARNING - slow - very""",
        [
            Expected("2017-01-02T03:04:05.123Z", INFO, "app", "started"),
            Expected(
                "2017-01-02T03:04:05.124Z",
                ERROR,
                "app",
                'failed\nTraceback (most recent call last):\n  File "x.py", line 1, in <module>\nValueError: bad',
            ),
            Expected("2017-01-02T03:04:06.124Z", WARN, "app", "slow - very"),
        ],
    ),
    "python logging without format": (
        "INFO:root:hello\nWARNING:my.mod:careful: yes\nERROR:root:boom",
        [
            Expected("2018-06-30T21:00", INFO, "app", "hello"),
            Expected("2018-06-30T21:00", WARN, "app", "careful: yes"),
            Expected("2018-06-30T21:00", ERROR, "app", "boom"),
        ],
    ),
    "uvicorn": (
        'INFO:     Started process [123]\nINFO:     127.0.0.1:1234 - "GET / HTTP/1.1" 200 OK\nERROR:    Exception',
        [
            Expected("2018-06-30T21:00", INFO, "app", "Started process [123]"),
            Expected("2018-06-30T21:00", INFO, "app", '127.0.0.1:1234 - "GET / HTTP/1.1" 200 OK'),
            Expected("2018-06-30T21:00", ERROR, "app", "Exception"),
        ],
    ),
    "gunicorn": (
        """\
[2017-01-02 03:04:05 +0100] [123] [INFO] Starting gunicorn 20.0
[2017-01-02 03:04:05 +0100] [123] [INFO] Listening at: http://127.0.0.1:8000 (123)
[2017-01-02 03:04:07 +0100] [124] [CRITICAL] WORKER TIMEOUT (pid:124)""",
        [
            Expected("2017-01-02T02:04:05", INFO, "app", "Starting gunicorn 20.0"),
            Expected("2017-01-02T02:04:05", INFO, "app", "Listening at: http://127.0.0.1:8000 (123)"),
            Expected("2017-01-02T02:04:07", FATAL, "app", "WORKER TIMEOUT (pid:124)"),
        ],
    ),
    "spring boot": (
        """\
2017-01-02 03:04:05.123  INFO 1234 --- [           main] c.f.Bar                                  : Starting Bar
2017-01-02 03:04:05.223  WARN 1234 --- [nio-8080-exec-1] c.f.Baz                                  : slow: 10
2017-01-02 03:04:05.323 ERROR 1234 --- [nio-8080-exec-1] c.f.Baz                                  : boom
java.lang.IllegalStateException: x
\tat c.f.Baz.go(Baz.java:10)
Caused by: java.io.IOException: y
\t... 3 more""",
        [
            Expected("2017-01-02T03:04:05.123Z", INFO, "app", "Starting Bar"),
            Expected("2017-01-02T03:04:05.223Z", WARN, "app", "slow: 10"),
            Expected(
                "2017-01-02T03:04:05.323Z",
                ERROR,
                "app",
                "boom\njava.lang.IllegalStateException: x\n\tat c.f.Baz.go(Baz.java:10)\n"
                "Caused by: java.io.IOException: y\n\t... 3 more",
            ),
        ],
    ),
    "logback": (
        "03:04:05.123 [main] INFO  c.f.Bar - started\n03:04:06.123 [worker 1] ERROR c.f.Baz - lost - gone",
        [
            Expected("2018-06-30T03:04:05.123Z", INFO, "app", "started"),
            Expected("2018-06-30T03:04:06.123Z", ERROR, "app", "lost - gone"),
        ],
    ),
    "elasticsearch": (
        """\
[2017-01-02T03:04:05,123][INFO ][o.e.n.Node               ] [node-1] starting ...
[2017-01-02T03:04:05,323][WARN ][o.e.b.Bootstrap          ] [node-1] bad""",
        [
            Expected("2017-01-02T03:04:05.123Z", INFO, "app", "[node-1] starting ..."),
            Expected("2017-01-02T03:04:05.323Z", WARN, "app", "[node-1] bad"),
        ],
    ),
    "loguru": (
        """\
2017-01-02 03:04:05.123 | INFO     | app.main:run:12 - hello
2017-01-02 03:04:05.123 | WARNING  | app.main:run:12 - bye - now""",
        [
            Expected("2017-01-02T03:04:05.123Z", INFO, "app", "hello"),
            Expected("2017-01-02T03:04:05.123Z", WARN, "app", "bye - now"),
        ],
    ),
    "rust tracing, seconds with and without fraction": (
        """\
2017-01-02T03:04:05.123456Z  INFO my_app::net: listening addr=1.2.3.4
2017-01-02T03:04:05.223456Z ERROR my_app::net: failed
2017-01-02T03:04:06Z  WARN my_app: late""",
        [
            Expected("2017-01-02T03:04:05.123Z", INFO, "app", "listening addr=1.2.3.4"),
            Expected("2017-01-02T03:04:05.223Z", ERROR, "app", "failed"),
            Expected("2017-01-02T03:04:06.000Z", WARN, "app", "late"),
        ],
    ),
    "rust env_logger": (
        "[2017-01-02T03:04:05Z INFO  my_app] hi\n[2017-01-02T03:04:05Z ERROR my_app::x] bad",
        [
            Expected("2017-01-02T03:04:05", INFO, "app", "hi"),
            Expected("2017-01-02T03:04:05", ERROR, "app", "bad"),
        ],
    ),
    "ruby logger": (
        """\
I, [2017-01-02T03:04:05.123456 #1234]  INFO -- : Started
E, [2017-01-02T03:04:05.123456 #1234] ERROR -- prog: Failed""",
        [
            Expected("2017-01-02T03:04:05.123Z", INFO, "app", "Started"),
            Expected("2017-01-02T03:04:05.123Z", ERROR, "app", "Failed"),
        ],
    ),
    "mysql": (
        """\
2017-01-02T03:04:05.123456Z 0 [System] [MY-010116] /usr/sbin/mysqld starting
2017-01-02T03:04:05.123456Z 0 [Warning] [MY-010068] CA certificate is self signed.
2017-01-02T03:04:05.123456Z 9 [Note] [MY-010069] done""",
        [
            Expected("2017-01-02T03:04:05.123Z", INFO, "app", "/usr/sbin/mysqld starting"),
            Expected("2017-01-02T03:04:05.123Z", WARN, "app", "CA certificate is self signed."),
            Expected("2017-01-02T03:04:05.123Z", INFO, "app", "done"),
        ],
    ),
    "redis": (
        "1:C 02 Jan 2017 03:04:05.123 * starting\n1:M 02 Jan 2017 03:04:05.124 # Warning: no config",
        [
            Expected("2017-01-02T03:04:05.123Z", INFO, "app", "starting"),
            Expected("2017-01-02T03:04:05.124Z", WARN, "app", "Warning: no config"),
        ],
    ),
    "kafka": (
        "[2017-01-02 03:04:05,123] INFO starting (k.Server)\n[2017-01-02 03:04:05,323] ERROR [id=0] Bad (k.Server)",
        [
            Expected("2017-01-02T03:04:05.123Z", INFO, "app", "starting (k.Server)"),
            Expected("2017-01-02T03:04:05.323Z", ERROR, "app", "[id=0] Bad (k.Server)"),
        ],
    ),
    "celery": (
        "[2017-01-02 03:04:05,123: INFO/MainProcess] Task got\n[2017-01-02 03:04:05,123: ERROR/Worker-1] Task failed",
        [
            Expected("2017-01-02T03:04:05.123Z", INFO, "app", "Task got"),
            Expected("2017-01-02T03:04:05.123Z", ERROR, "app", "Task failed"),
        ],
    ),
    "postgres": (
        """\
2017-01-02 03:04:05.123 UTC [123] LOG:  database system is ready
2017-01-02 03:04:06.123 UTC [124] app@db ERROR:  relation "x" does not exist
2017-01-02 03:04:06.123 UTC [124] app@db STATEMENT:  select *
\tfrom x""",
        [
            Expected("2017-01-02T03:04:05.123Z", INFO, "app", "database system is ready"),
            Expected("2017-01-02T03:04:06.123Z", ERROR, "app", 'relation "x" does not exist'),
            Expected("2017-01-02T03:04:06.123Z", INFO, "app", "select *\n\tfrom x"),
        ],
    ),
    "nginx error": (
        "2017/01/02 03:04:05 [error] 12#12: *45 connect() failed (111: refused)\n2017/01/02 03:04:05 [warn] 12#0: low",
        [
            Expected("2017-01-02T03:04:05", ERROR, "app", "connect() failed (111: refused)"),
            Expected("2017-01-02T03:04:05", WARN, "app", "low"),
        ],
    ),
    "apache error": (
        """\
[Sat Aug 12 04:05:50.123456 2017] [core:error] [pid 123:tid 456] (13)Permission denied: [client 1.2.3.4:5] AH00035: x
[Sat Aug 12 04:05:51.123456 2017] [mpm_event:notice] [pid 1:tid 2] AH00489: y""",
        [
            Expected("2017-08-12T04:05:50.123Z", ERROR, "app", "(13)Permission denied: [client 1.2.3.4:5] AH00035: x"),
            Expected("2017-08-12T04:05:51.123Z", INFO, "app", "AH00489: y"),
        ],
    ),
    "access log": (
        """\
10.0.0.1 - - [10/Oct/2017:13:55:36 -0700] "GET /a HTTP/1.0" 200 2326 "http://r" "Mozilla/4.08 [en]"
10.0.0.2 - bob [10/Oct/2017:13:55:37 -0700] "POST /b HTTP/1.0" 503 12 "-" "curl"
10.0.0.3 - - [10/Oct/2017:13:55:38 -0700] "GET /c HTTP/1.0" 404 -""",
        [
            Expected("2017-10-10T20:55:36", INFO, "app", '10.0.0.1 "GET /a HTTP/1.0" 200 2326'),
            Expected("2017-10-10T20:55:37", ERROR, "app", '10.0.0.2 "POST /b HTTP/1.0" 503 12'),
            Expected("2017-10-10T20:55:38", WARN, "app", '10.0.0.3 "GET /c HTTP/1.0" 404 -'),
        ],
    ),
    "go log": (
        "2017/01/02 03:04:05 listening on :80\n2017/01/02 03:04:06 main.go:12: oops",
        [
            Expected("2017-01-02T03:04:05", UNSPECIFIED, "app", "listening on :80"),
            Expected("2017-01-02T03:04:06", UNSPECIFIED, "app", "main.go:12: oops"),
        ],
    ),
    "rsyslog with ISO times": (
        """\
2017-01-02T03:04:05.123456+01:00 web sshd[12]: Accepted publickey
2017-01-02T03:04:06.123456+01:00 web CRON[13]: (root) CMD (x)
2017-01-02T03:04:06.123456+01:00 web kernel: [12.3] eth0: up""",
        [
            Expected("2017-01-02T02:04:05.123Z", UNSPECIFIED, "sshd", "Accepted publickey"),
            Expected("2017-01-02T02:04:06.123Z", UNSPECIFIED, "CRON", "(root) CMD (x)"),
            Expected("2017-01-02T02:04:06.123Z", UNSPECIFIED, "kernel", "[12.3] eth0: up"),
        ],
    ),
    "syslog with priority": (
        "<34>Oct 11 22:14:15 gate su: failed for ann on /dev/pts/8\n<13>Feb  5 17:32:18 10.0.0.9 app[1]: Use it!",
        [
            Expected("2017-10-11T22:14:15", FATAL, "su", "failed for ann on /dev/pts/8"),
            Expected("2018-02-05T17:32:18", INFO, "app", "Use it!"),
        ],
    ),
    "syslog of RFC 5424": (
        """\
<165>1 2017-10-11T22:14:15.003Z gate.example.com eventd - ID47 [ex@32473 iut="3" source="App\\]lication"] An event
<34>1 2017-10-11T22:14:16.003Z gate su - ID47 - failed for ann
<34>1 - gate su - - [x@1 a="b"]""",
        [
            Expected("2017-10-11T22:14:15.003Z", INFO, "eventd", "An event"),
            Expected("2017-10-11T22:14:16.003Z", FATAL, "su", "failed for ann"),
            Expected("2017-10-11T22:14:16.003Z", FATAL, "su", '[x@1 a="b"]'),
        ],
    ),
    "level in small letters and brackets, process in parentheses": (
        "[2017/12/01 03:04:05] (3) <notice> cache: dropped\n[2017/12/01 03:04:06] (12) <error> cache: lost",
        [
            Expected("2017-12-01T03:04:05", INFO, "app", "dropped"),
            Expected("2017-12-01T03:04:06", ERROR, "app", "lost"),
        ],
    ),
    "dotnet console": (
        "info: Host.Lifetime[0]\n      Now listening\nfail: App[1]\n      Boom\n         at Foo.Bar() in /x.cs:line 1",
        [
            Expected("2018-06-30T21:00", INFO, "app", "Host.Lifetime[0]\n      Now listening"),
            Expected("2018-06-30T21:00", ERROR, "app", "App[1]\n      Boom\n         at Foo.Bar() in /x.cs:line 1"),
        ],
    ),
    "no header at all": (
        "server started\nall is well: error 0 of 12\nstopped",
        [
            Expected("2018-06-30T21:00", UNSPECIFIED, "app", "server started"),
            Expected("2018-06-30T21:00", UNSPECIFIED, "app", "all is well: error 0 of 12"),
            Expected("2018-06-30T21:00", UNSPECIFIED, "app", "stopped"),
        ],
    ),
}


@pytest.mark.parametrize("shape", SAMPLES)
def test_a_header_is_taken_apart(shape: str) -> None:
    text, expected = SAMPLES[shape]

    found = read(text.split("\n"))

    assert [record[1:] for record in found] == [record[1:] for record in expected]
    assert all(is_.time.startswith(wanted.time) for is_, wanted in zip(found, expected, strict=True)), found


@pytest.mark.parametrize("shape", SAMPLES)
def test_without_joining_there_is_one_entry_a_line(shape: str) -> None:
    lines = SAMPLES[shape][0].split("\n")

    columns = detect(lines, reference_ns=REFERENCE).parse(lines, join=False)

    assert len(columns) == len(lines)
    assert columns.position is not None
    assert columns.position.tolist() == list(range(len(lines)))


@pytest.mark.parametrize("shape", SAMPLES)
def test_many_lines_are_read_as_few(shape: str) -> None:
    text, expected = SAMPLES[shape]

    found = read(text.split("\n") * 30)

    assert [record.message for record in found] == [record.message for record in expected] * 30
