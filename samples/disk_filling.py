"""disk.log: nine hours of a small service host. A partner is away for six minutes; later the disk fills up."""

from __future__ import annotations

from .scene import MINUTE_MS, Expected, Scene, iso

__all__ = ["EXPECTED", "MAX_INCIDENTS", "make"]

DAY = "2026-03-10"
BURST = ("10:05", "10:11")
FULL = ("14:26", "15:10")
MAX_INCIDENTS = 6

EXPECTED = [
    Expected(
        kind="new|rate|severity|dominant",
        service="orders",
        about="(?i)connection refused|connect timed out",
        start=f"{DAY}T10:05:00Z",
        end=f"{DAY}T10:15:00Z",
        runbook="connection-refused",
    ),
    Expected(
        kind="new|rate|severity|dominant",
        service="postgres|orders|backup",
        about="No space left on device",
        start=f"{DAY}T14:26:00Z",
        end=f"{DAY}T15:12:00Z",
        runbook="disk-full",
    ),
    Expected(
        kind="new|rate|rare",
        service="monit",
        about="space usage",
        start=f"{DAY}T12:20:00Z",
        end=f"{DAY}T14:26:00Z",
        runbook="disk-full",
        optional=True,
    ),
]

TABLES = ("orders", "order_items", "stock_moves", "invoices", "sessions")
WARES = ("lamp-104", "chair-220", "desk-031", "shelf-118", "rug-077", "mirror-009")
TRACE = """\
\tat com.example.orders.ledger.LedgerClient.post(LedgerClient.java:{a})
\tat com.example.orders.ledger.LedgerBooking.book(LedgerBooking.java:58)
\tat com.example.orders.OrderService.complete(OrderService.java:{b})
\tat java.base/java.util.concurrent.ThreadPoolExecutor.runWorker(ThreadPoolExecutor.java:1144)
\tat java.base/java.lang.Thread.run(Thread.java:1583)"""


class Host:
    """Writes lines as rsyslog does today: an ISO time with microseconds, host, program[pid]."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def say(self, time_ms: int, program: str, message: str, pid: int | None = None) -> None:
        stamp = iso(time_ms, zone="+00:00", micros=self.scene.random.randrange(1000))
        tag = program if pid is None else f"{program}[{pid}]"
        self.scene.put(time_ms, f"{stamp} depot-1 {tag}: {message}")

    def pid(self) -> int:
        return self.scene.random.randrange(20_000, 32_000)


def make(seed: int = 20260310) -> str:
    """The whole log as text."""
    scene = Scene(f"{DAY}T07:00:00Z", 9, seed)
    host = Host(scene)
    _orders(host)
    _database(host)
    _housekeeping(host)
    _ledger_away(host)
    _disk_fills(host)
    return scene.render()


def _orders(host: Host) -> None:
    scene, rng = host.scene, host.scene.random
    number = 481_200

    def slower(time_ms: int) -> float:
        full = scene.at(FULL[0]) <= time_ms < scene.at(FULL[1])
        away = scene.at(BURST[0]) <= time_ms < scene.at(BURST[1])
        return 0.25 if full else 0.6 if away else 1.0

    for time_ms in scene.traffic(lambda t: 1.25 * slower(t)):
        number += 1
        thread, items = rng.randrange(1, 17), rng.randrange(1, 6)
        total, customer = scene.around(60), rng.randrange(10_000, 99_999)
        say = f"INFO [http-{thread}] OrderService - order {number} accepted, {items} items, total {total:.2f} EUR"
        host.say(time_ms, "orders", f"{say}, customer c-{customer}", 2211)
        away = scene.at(BURST[0]) <= time_ms < scene.at(BURST[1])
        if not away:
            took = scene.around(90)
            booked = f"INFO [worker-{rng.randrange(1, 5)}] LedgerBooking - order {number} booked in {took:.0f} ms"
            host.say(time_ms + int(took) + 40, "orders", booked, 2211)
    for time_ms in scene.traffic(1.7):
        ware = scene.pick(WARES)
        left = rng.randrange(0, 400)
        stock = f"INFO [http-{rng.randrange(1, 17)}] StockService - stock of {ware} is {left}, shelf {scene.hex(3)}"
        host.say(time_ms, "orders", stock, 2211)
    for time_ms in scene.traffic(1.5):
        client = f"198.51.100.{rng.randrange(2, 250)}"
        line = f'{client} "GET /orders?page={rng.randrange(1, 40)} HTTP/1.1" 200 {rng.randrange(900, 9000)}'
        host.say(
            time_ms, "orders", f"INFO [http-{rng.randrange(1, 17)}] Access - {line} {scene.around(21):.0f}ms", 2211
        )
    for time_ms in scene.traffic(0.09, shape=1.5):
        slow = f"WARN [http-{rng.randrange(1, 17)}] StockService - slow lookup of {scene.pick(WARES)} took"
        host.say(time_ms, "orders", f"{slow} {scene.around(1300, 0.2):.0f} ms", 2211)
    for time_ms in scene.traffic(0.05, shape=1.5):
        lost = f"WARN [http-{rng.randrange(1, 17)}] Session - session {scene.hex(12)} has ended, login needed"
        host.say(time_ms, "orders", lost, 2211)


def _database(host: Host) -> None:
    scene, rng = host.scene, host.scene.random
    for time_ms in scene.traffic(0.9):
        pid = host.pid()
        port = rng.randrange(33_000, 60_000)
        host.say(time_ms, "postgres", f"LOG:  connection received: host=192.0.2.21 port={port}", pid)
        who = "user=orders database=orders application_name=orders-jdbc"
        host.say(time_ms + 4, "postgres", f"LOG:  connection authorized: {who}", pid)
    for time_ms in scene.traffic(0.16, shape=1.2):
        table, where = scene.pick(TABLES), rng.randrange(1, 90_000)
        query = f"SELECT * FROM {table} WHERE id > {where} LIMIT 500"  # noqa: S608 - a line of a log, run by nobody
        slow = f"duration: {scene.around(900, 0.4):.3f} ms  statement: {query}"
        host.say(time_ms, "postgres", f"LOG:  {slow}", host.pid())
    for time_ms in scene.traffic(0.03, shape=1.2):
        pid = host.pid()
        error = 'ERROR:  duplicate key value violates unique constraint "sessions_pkey"'
        host.say(time_ms, "postgres", error, pid)
        host.say(time_ms + 1, "postgres", f"DETAIL:  Key (id)=({scene.hex(12)}) already exists.", pid)
    for time_ms in scene.every(300, jitter_ms=900, start_ms=scene.start_ms + 70_000):
        if scene.at(FULL[0]) <= time_ms < scene.at(FULL[1]):
            continue
        host.say(time_ms, "postgres", "LOG:  checkpoint starting: time", 812)
        buffers, write = int(scene.around(310)), scene.around(31, 0.2)
        done = f"LOG:  checkpoint complete: wrote {buffers} buffers ({buffers / 163.84:.1f}%); 0 WAL file(s) added, "
        done += f"0 removed, {rng.randrange(3)} recycled; write={write:.3f} s, sync=0.0{rng.randrange(10, 99)} s, "
        done += (
            f"total={write + 0.1:.3f} s; distance={int(scene.around(2200))} kB, estimate={int(scene.around(4000))} kB"
        )
        host.say(time_ms + int(write * 1000), "postgres", done, 812)
    for time_ms in scene.traffic(0.12, shape=1.5):
        table = scene.pick(TABLES)
        vacuum = f'LOG:  automatic vacuum of table "orders.public.{table}": index scans: {rng.randrange(2)}, '
        vacuum += f"pages: 0 removed, {int(scene.around(5000))} remain, tuples: {int(scene.around(800))} removed"
        host.say(time_ms, "postgres", vacuum, host.pid())


def _housekeeping(host: Host) -> None:
    scene, rng = host.scene, host.scene.random
    segment = 0x41
    for time_ms in scene.every(300, jitter_ms=2_000, start_ms=scene.start_ms + 20_000):
        pid = host.pid()
        host.say(time_ms, "CRON", "(backup) CMD (/usr/local/bin/ship-wal --once)", pid)
        if scene.at("14:28") <= time_ms < scene.at(FULL[1]):
            continue
        segment += 1
        size, took = rng.randrange(3, 17), scene.around(1.1, 0.3)
        shipped = f"shipped segment 00000001000000A2000000{segment % 256:02X}, {size} MiB in {took:.1f} s"
        host.say(time_ms + 1_500, "backup", f"INFO {shipped}", pid + 1)
    for time_ms in scene.every(3600, jitter_ms=900, start_ms=scene.start_ms + 17 * MINUTE_MS):
        host.say(time_ms, "CRON", "(root) CMD (cd / && run-parts --report /etc/cron.hourly)", host.pid())
        host.say(time_ms + 700, "systemd", "Starting logrotate.service - Rotate log files...", 1)
        host.say(time_ms + 1_400, "systemd", "logrotate.service: Deactivated successfully.", 1)
        host.say(time_ms + 1_420, "systemd", "Finished logrotate.service - Rotate log files.", 1)
    for time_ms in scene.every(600, jitter_ms=60_000, start_ms=scene.start_ms + 95_000):
        host.say(time_ms, "chronyd", f"Selected source 192.0.2.{rng.randrange(2, 5)} (ntp{rng.randrange(1, 4)})", 640)
    for time_ms in scene.traffic(0.03, shape=1.0):
        pid = host.pid()
        key = f"ED25519 SHA256:{scene.hex(20)}"
        port = rng.randrange(40_000, 60_000)
        host.say(time_ms, "sshd", f"Accepted publickey for deploy from 192.0.2.9 port {port} ssh2: {key}", pid)
        host.say(time_ms + 30, "sshd", "pam_unix(sshd:session): session opened for user deploy(uid=1001)", pid)
        host.say(
            time_ms + rng.randrange(20_000, 300_000),
            "sshd",
            "pam_unix(sshd:session): session closed for user deploy",
            pid,
        )
    for time_ms in scene.every(120, jitter_ms=300, start_ms=scene.start_ms + 45_000):
        load = f"{scene.around(0.4):.2f} {scene.around(0.4, 0.2):.2f} {scene.around(0.4, 0.1):.2f}"
        host.say(
            time_ms,
            "hostwatch",
            f"load {load} mem {rng.randrange(41, 49)}% swap 0% procs {rng.randrange(180, 220)}",
            590,
        )


def _ledger_away(host: Host) -> None:
    scene, rng = host.scene, host.scene.random
    start_ms, end_ms = scene.at(BURST[0]), scene.at(BURST[1])
    number = 700_100
    for time_ms in scene.traffic(14, start_ms=start_ms, end_ms=end_ms, shape=6):
        number += 1
        worker, order = rng.randrange(1, 5), 481_400 + rng.randrange(200)
        trace = TRACE.format(a=rng.choice((88, 91)), b=rng.choice((140, 152)))
        if rng.random() < 0.65:
            error = "java.net.ConnectException: Connection refused: ledger.example.internal/192.0.2.40:8443"
        else:
            error = "java.net.http.HttpConnectTimeoutException: HTTP connect timed out after 2000 ms: 192.0.2.40:8443"
        head = f"ERROR [worker-{worker}] LedgerClient - booking {number} of order {order} failed"
        host.say(time_ms, "orders", f"{head}: {error}\n{error}\n{trace}", 2211)
    for time_ms in scene.every(60, start_ms=start_ms + 35_000, end_ms=end_ms):
        waiting = rng.randrange(8, 30)
        host.say(time_ms, "orders", f"WARN [retry-1] LedgerBooking - {waiting} bookings wait for the ledger", 2211)
    caught_up = "INFO [retry-1] LedgerBooking - ledger answers again, 61 bookings sent later"
    host.say(end_ms + 22_000, "orders", caught_up, 2211)


def _disk_fills(host: Host) -> None:
    scene, rng = host.scene, host.scene.random
    host.say(
        scene.at("11:31:07"),
        "CRON",
        "(report) CMD (/usr/local/bin/export-year --all --tmp /var/lib/postgresql/tmp)",
        27_411,
    )
    host.say(scene.at("11:31:08"), "export-year", "INFO exporting 2019 to 2025, 41 tables, no compression", 27_412)
    for time_ms, percent in ((scene.at("12:20"), 85), (scene.at("13:10"), 90), (scene.at("13:52"), 95)):
        for repeat in range(3):
            used = percent + repeat * 0.9 + rng.random() * 0.5
            limit = f"space usage {used:.1f}% matches resource limit [space usage > {percent}.0%]"
            host.say(time_ms + repeat * 600_000 + rng.randrange(900), "monit", f"warning: 'data' {limit}", 655)
    start_ms, end_ms = scene.at(FULL[0]), scene.at(FULL[1])
    for time_ms in scene.traffic(4.5, start_ms=start_ms, end_ms=end_ms, shape=5):
        pid = host.pid()
        file = f"base/16384/{rng.randrange(24_500, 24_700)}"
        if rng.random() < 0.3:
            file += f".{rng.randrange(1, 4)}"
        error = f'could not extend file "{file}": No space left on device'
        host.say(time_ms, "postgres", f"ERROR:  {error}", pid)
        host.say(time_ms + 1, "postgres", "HINT:  Check free disk space.", pid)
        if rng.random() < 0.5:
            order = 481_700 + rng.randrange(90)
            head = f"ERROR [http-{rng.randrange(1, 17)}] OrderService - order {order} not saved"
            trace = f"org.postgresql.util.PSQLException: ERROR: {error}\n"
            trace += "\tat org.postgresql.core.v3.QueryExecutorImpl.receiveErrorResponse(QueryExecutorImpl.java:2733)\n"
            trace += "\tat com.example.orders.OrderStore.insert(OrderStore.java:77)\n"
            trace += "\tat com.example.orders.OrderService.accept(OrderService.java:121)"
            host.say(time_ms + 6, "orders", f"{head}\n{trace}", 2211)
    for time_ms in scene.every(300, start_ms=start_ms + 65_000, end_ms=end_ms):
        host.say(time_ms, "postgres", "LOG:  checkpoint starting: time", 812)
        failed = 'ERROR:  could not write to file "pg_xact/0031" at offset 122880: No space left on device'
        host.say(time_ms + 900, "postgres", failed, 812)
        host.say(time_ms + 905, "postgres", "ERROR:  checkpoint request failed", 812)
    for time_ms in scene.every(300, jitter_ms=2_000, start_ms=scene.at("14:30:21"), end_ms=end_ms):
        trace = "ERROR segment was not shipped\nTraceback (most recent call last):\n"
        trace += '  File "/usr/local/bin/ship-wal", line 88, in ship\n    shutil.copyfileobj(source, target)\n'
        trace += '  File "/usr/lib/python3.11/shutil.py", line 200, in copyfileobj\n    fdst_write(buf)\n'
        trace += "OSError: [Errno 28] No space left on device"
        host.say(time_ms + 1_500, "backup", trace, host.pid())
    for time_ms in scene.every(600, start_ms=scene.at("14:24"), end_ms=end_ms):
        host.say(time_ms, "monit", "error: 'data' space usage 100.0% matches resource limit [space usage > 98.0%]", 655)
    freed = "COMMAND=/usr/bin/rm -r /var/lib/postgresql/tmp/export-year"
    host.say(scene.at("15:09:31"), "sudo", f"deploy : TTY=pts/0 ; PWD=/home/deploy ; USER=root ; {freed}", 29_877)
    host.say(
        scene.at("15:10:04"), "monit", "info: 'data' space usage check succeeded [current space usage = 71.4%]", 655
    )
