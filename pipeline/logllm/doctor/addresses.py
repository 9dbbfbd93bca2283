"""The addresses of a configuration: those it listens on, and those it sends to."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from logllm.doctor.finding import Finding, fail, ok, warn
from logllm.errors import ConfigError
from logllm.sources.forward.server import host_and_port

if TYPE_CHECKING:
    from logllm.config import Config

__all__ = ["examine_listening", "examine_openness", "examine_unix_path", "reaches", "reaches_beyond"]

_CONNECT_S = 3.0


def examine_listening(config: Config, running: str | None, url: str) -> Iterator[Finding]:
    """Whether the addresses can be bound.

    Args:
        running: The version of the logllm that answers at `url`, None where none does.
    """
    for name, listen in (("forward.listen", config.forward.listen), ("http.listen", config.http.listen)):
        about = f"{name} {listen}"
        try:
            host, port = host_and_port(listen)
        except ConfigError as error:
            yield fail(about, str(error), f"correct {name}")
            continue
        refused = bound(host, port)
        if refused is None:
            yield ok(about, "any free port" if port == 0 else "free")
        elif refused.errno == errno.EADDRINUSE and running is not None:
            yield ok(about, f"in use; logllm {running} answers at {url}")
        elif refused.errno == errno.EADDRINUSE:
            yield fail(
                about,
                f"in use, and no logllm answers at {url}",
                f"find who listens there (`ss -ltnp 'sport = :{port}'`), or set another {name}",
            )
        elif refused.errno == errno.EACCES:
            yield fail(about, "this user may not bind it", "use a port above 1023, or grant CAP_NET_BIND_SERVICE")
        else:
            yield fail(about, f"cannot be bound: {refused.strerror or refused}", f"correct {name}")


def bound(host: str, port: int) -> OSError | None:
    """Bind and let go of an address as the server would; the error where it fails."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, number) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(1)
    except OSError as error:
        return error
    except UnicodeError as error:
        return OSError(errno.EINVAL, f"no host name: {error}")
    return None


def reaches_beyond(listen: str) -> bool:
    """Whether other machines can reach what listens there. A name counts as what it resolves to.

    >>> reaches_beyond("127.0.0.1:24224"), reaches_beyond("[::]:24224"), reaches_beyond("10.0.0.7:1")
    (False, True, True)
    """
    try:
        host, port = host_and_port(listen)
        addresses = {info[4][0] for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
        return not all(ipaddress.ip_address(str(address).partition("%")[0]).is_loopback for address in addresses)
    except (ConfigError, OSError, UnicodeError, ValueError):
        return False


def examine_unix_path(path: Path) -> Finding:
    """Whether a socket can be made there."""
    about = f"forward.unix_path {path}"
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        kind = None
    except OSError as error:
        return fail(about, f"cannot be looked at: {error.strerror or error}", "correct forward.unix_path")
    if kind is not None and not stat.S_ISSOCK(kind):
        return fail(about, "something else than a socket is there", "remove it, or set another forward.unix_path")
    if not path.parent.is_dir():
        return fail(about, f"{path.parent} is no folder", f"create {path.parent}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return fail(about, f"{path.parent} cannot be written by this user", f"give this user {path.parent}")
    if len(os.fsencode(path)) > 107:
        return fail(about, "longer than the 107 bytes a socket's path may have", "set a shorter forward.unix_path")
    return ok(about, "free" if kind is None else "a socket is there")


def reaches(about: str, address: str) -> Finding:
    """Whether something takes a connection at `host:port`, or at the path of a socket."""
    try:
        if address.startswith(("/", "unix:")):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.settimeout(_CONNECT_S)
                sock.connect(address.removeprefix("unix:"))
        else:
            with socket.create_connection(host_and_port(address), timeout=_CONNECT_S):
                pass
    except ConfigError as error:
        return fail(about, str(error), "correct the address")
    except TimeoutError:
        return fail(about, f"no connection within {_CONNECT_S:g} s", "see whether it runs and a firewall lets through")
    except (OSError, UnicodeError) as error:
        told = getattr(error, "strerror", None) or error
        return fail(about, f"no connection: {told}", "see whether it runs; until then records wait at the senders")
    return ok(about, "takes connections")


def examine_openness(config: Config) -> Iterator[Finding]:
    """Whether strangers can reach what listens, and whether others can read along."""
    forward = config.forward
    if reaches_beyond(forward.listen):
        about = f"forward.listen {forward.listen}"
        if not (forward.shared_key_file or forward.users_file or forward.tls_client_ca):
            yield warn(
                about,
                "other machines reach it, and nobody is asked who they are: whoever does can send records",
                "set shared_key_file or tls_client_ca under [forward], or listen on 127.0.0.1",
            )
        if not forward.tls_cert:
            yield warn(
                about,
                "other machines reach it, without TLS: records come in clear",
                "set tls_cert and tls_key under [forward], or listen on 127.0.0.1",
            )
    if reaches_beyond(config.http.listen):
        yield warn(
            f"http.listen {config.http.listen}",
            "other machines reach it, and it has no password",
            "listen on 127.0.0.1, or let only probes and Prometheus through",
        )
