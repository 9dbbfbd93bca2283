"""What different programs call the same thing: one name for "timed out", "deadline exceeded" and "took too long"."""

from __future__ import annotations

import re

__all__ = ["concepts"]

_MAX_TEXT = 4_096

# Name, and what says it; beginnings of words unless they end in a blank. Read on lower-case words between blanks.
_SAID = {
    "timeout": "timeout|time out|timed out|deadline exceed|took too long|not respond|no response|no answer|no reply"
    "|did not answer|did not respond|unresponsive|gave no |given up|504 |gateway time",
    "refused": "refus|econnrefused|nothing listen|not accept",
    "denied": "denied|deny|forbid|not permitted|not allowed|unauthori|not authori|eacces|eperm|access control|403 |401 "
    "|disallow|insufficient privilege",
    "full": "no space|enospc|full |exhaust|no more|no free|none left|out of space|not enough space|100 |used up"
    "|insufficient|nearly out|no room|ran out|depleted|saturat",
    "limit": "limit|too many|exceed|quota|maximum|max |ceiling|threshold|capped|throttl",
    "lost": "lost|gone|disappear|vanish|disconnect|dropped|dead |died|missing|unreachable|offline|no longer|silent",
    "down": "down |unavailable|not available|out of service|unhealthy|not ready|critical|inactive|stopped|halt",
    "failed": "fail|error|unable|cannot|can t|could not|couldn t|unsuccessful|abort|not succeed",
    "crash": "crash|segfault|sigsegv|sigabrt|panic|core dump|dumped|fatal signal|signal 11|signal 6|exit code 139|139 ",
    "killed": "kill|sigkill|signal 9|terminated|137 |oom|evict",
    "memory": "memory|oom|heap|rss|mem |ram |malloc|enomem",
    "restart": "restart|respawn|back off|backoff|crashloop|start limit|again and again|start retries",
    "login": "login|logon|log in|sign in|signin|logins|authenticat|auth |credential|password",
    "wrong": "invalid|wrong|bad |incorrect|mismatch|malformed|not valid|illegal|unknown|unrecogni",
    "certificate": "certificate|cert |certs|x509|pkix|acme",
    "tls": "tls|ssl|handshake|https",
    "expired": "expir|no longer valid|not valid after|notafter|out of date|outdated|revoked|stale token",
    "slow": "slow|latency|lagging|took |delay|stall|long running|overload|behind",
    "lag": "lag |lags|behind|backlog|delay|catching up|catch up|not caught up|piles up|pile up|growing|waiting",
    "replica": "replica|standby|slave|secondary|follower|wal |binlog|binary log|relay log|replication",
    "database": "database|postgres|mysql|mariadb|sql|oracle|mongo|db |jdbc|cassandra|innodb|psycopg|hibernate|ora ",
    "pool": "pool|all connections|connections are in use|connection slots|too many clients|too many connections",
    "queue": "queue|topic|backlog|broker|consumer|messages|kafka|rabbit|sqs|kinesis|amqp",
    "disk": "disk|device|volume|filesystem|file system|partition|mount|sda|sdb|nvme|raid|sector",
    "fds": "open files|file descriptor|descriptors|emfile|enfile|nofile|file handles|worker connections|too many files",
    "readonly": "read only|readonly|erofs|remount|ro mode",
    "ioerror": "i o error|io error|input output error|eio|medium error|unrecovered|uncorrect|bad sector|media error",
    "container": "container|pod |pods|docker|kubelet|containerd|cgroup|kubepods|cri o",
    "image": "image|registry|manifest|pull |pulling|docker io|ghcr",
    "node": "node |nodes|kubelet|worker node",
    "schedule": "schedul|unschedul|placement|pending|place task|allocat",
    "dns": "dns|resolv|resolution|name or service|getaddrinfo|nxdomain|servfail|unknownhost|no such host|lookup",
    "route": "no route|unreachable|host unreachable|network is unreachable|gateway|arp |neighbo",
    "link": "link is|link down|link up|carrier|nic |interface|flap|bond0|lineproto|port channel",
    "firewall": "firewall|ufw|iptables|nftables|deny tcp|dpt|portscan|port scan|nmap|blocked inbound",
    "probe": "probe|health check|healthcheck|healthz|liveness|readiness|unhealthy|health",
    "heartbeat": "heartbeat|keepalive|keep alive|last seen|not reported|no data|watchdog|telemetry|pings",
    "deadlock": "deadlock|lock wait|sharelock|exclusivelock|lock timeout|locked|serializ",
    "query": "query|queries|statement|select |full scan|seq scan|collscan|explain plan|index scan",
    "thread": "thread|threads|fork|nproc|pids|tasksmax|native thread|worker pool|max children|maxrequestworkers",
    "gc": "gc |garbage|full gc|stop the world|g1 |cms |old gen|heap",
    "clock": "clock|ntp|chrony|timesync|skew|time sync|in the future|drift",
    "inode": "inode",
    "backup": "backup|dump|snapshot|restic|borg|rsync|archive|velero|cron|nightly|scheduled job|batch",
    "exception": "exception|traceback|unhandled|uncaught|panicked|typeerror|nullpointer|stack trace|undefined",
    "config": "config|setting|directive|environment variable|yaml|toml|parse|syntax|property|option",
    "mail": "smtp|mail|postfix|exim|spam|rcpt|mx |sasl|dovecot",
    "ssh": "ssh|sshd|preauth",
    "sudo": "sudo|su |root|privilege|uid 0|wheel|cluster admin|setuid",
    "license": "licen|subscription|seats|trial|evaluation",
    "rate": "429 |too many requests|rate limit|throttl|slow down|slowdown|retry after|requests per",
    "servererror": "500 |503 |5xx|internal server error|service unavailable|server error",
    "badgateway": "502 |504 |bad gateway|upstream|gateway time",
    "leader": "leader|election|quorum|raft|isr |in sync",
    "nfs": "nfs|cifs|smb|lustre|stale file|network share|nas ",
    "redis": "redis|sentinel|jedis|lettuce|memcache|cache server",
    "yarn": "yarn|executor|application master|appmaster|resourcemanager|nodemanager|taskattempt|spark",
    "hdfs": "hdfs|datanode|namenode|blk |block missing|replicas",
    "scan404": "404 |wp login|wp admin|phpmyadmin|env http|etc passwd|union select|sqlmap|modsecurity|cgi bin",
    "parity": "ecc|parity|machine check|mce|edac|dimm|corrected error|correctable",
    "lockup": "lockup|rcu|hung task|blocked for more than|stall|kernel panic|not syncing",
    "release": "rollout|rolled out|deploy|release|new version|migration|revision|build |upgrade|canary",
    "mac": "selinux|apparmor|avc|seccomp|scontext",
    "logs": "suppressed|rate limiting|messages lost|log volume|journald|rsyslog|callbacks|debug log",
}
_NOT_A_WORD = re.compile(r"[^a-z0-9]+")


def _index() -> tuple[dict[str, list[str]], dict[str, list[str]], dict[str, list[tuple[str, str]]]]:
    """Whole words, beginnings of words, and phrases by their first word, with the names that they mean."""
    whole: dict[str, list[str]] = {}
    beginnings: dict[str, list[str]] = {}
    phrases: dict[str, list[tuple[str, str]]] = {}
    for name, said in _SAID.items():
        for part in said.split("|"):
            first, _, rest = part.partition(" ")
            if rest:
                phrases.setdefault(first, []).append((f" {part}", name))
            elif part.endswith(" "):
                whole.setdefault(first, []).append(name)
            else:
                beginnings.setdefault(part, []).append(name)
    return whole, beginnings, phrases


_WHOLE, _BEGINNINGS, _PHRASES = _index()
_LENGTHS = sorted({len(beginning) for beginning in _BEGINNINGS})


def concepts(text: str) -> frozenset[str]:
    """The names of what a line speaks of; the first 4 KiB are read. Some 30 microseconds a line.

    >>> sorted(concepts("upstream request gave no response after 30 s"))
    ['badgateway', 'timeout']
    """
    plain = f" {_NOT_A_WORD.sub(' ', text[:_MAX_TEXT].lower())} "
    found: set[str] = set()
    for word in set(plain.split()):
        found.update(_WHOLE.get(word, ()))
        for length in _LENGTHS:
            if length > len(word):
                break
            found.update(_BEGINNINGS.get(word[:length], ()))
        for phrase, name in _PHRASES.get(word, ()):
            if phrase in plain:
                found.add(name)
    return frozenset(found)
