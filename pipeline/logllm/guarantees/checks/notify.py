"""What is told to people: that it arrives, that it is harmless, and where it may go."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from logllm.guarantees.scene import POOL, incident_of, play
from logllm.guarantees.verdict import Broken, Unchecked
from logllm.guarantees.wait import until

if TYPE_CHECKING:
    from logllm.guarantees.place import Place
    from logllm.guarantees.receiver import Arrived

__all__ = ["alerts_arrive", "destinations_are_named", "harmless_in_slack"]

_FAULTS = {
    "shop": [POOL],
    "cart": ["FATAL cannot write the basket: no space left on device"],
    "mail": ["ERROR the relay refuses us: certificate has expired"],
}
_QUIET_S = 0.3

_HOSTILE = (
    "<!channel> <!here> <@U061F7AUR>",
    "<https://evil.example/x|click to acknowledge>",
    "https://evil.example/y @here @channel",
    "*bold* _italic_ `code` ```block``` &lt;!channel&gt;",
    "\u202egnp.exe \x1b[31m",
)
_ANYWHERE = re.compile(r"<[^>]*>|[\x00-\x09\x0b-\x1f\u202e]")
_BESIDE_CODE = re.compile(r"[a-z]://\S|@(?:here|channel|everyone|U061)|evil\.example")
_CODE = re.compile("```.*?```|`[^`\n]+`", re.DOTALL)

_SECRET = "T0/B0/" + "s3cretOfTheWebhook"
_ELSEWHERE = "hooks.slack.example"


def alerts_arrive(place: Place) -> str:
    """Kill the service while a message is under way, kill it again once one was taken; look at what arrives."""
    go_on = threading.Event()

    def answer(_: Arrived) -> tuple[int, bytes]:
        go_on.wait(place.patience_s)
        return 200, b"ok"

    receiver = place.receive(answer)
    arguments = ("--data-dir", str(place.folder / "data"), "--webhook", receiver.url)
    child = place.serve(*arguments)
    play(place.connect(child), _FAULTS)
    told = {str(incident_of(child, service, place.patience_s)["id"]) for service in _FAULTS}

    if not receiver.wait(1, place.patience_s):
        raise Broken(f"no message came within {place.patience_s:g} s of an incident")
    child.end(signal.SIGKILL)
    under_way = len(receiver.arrived)
    go_on.set()
    child = place.serve(*arguments, again=True)
    receiver.wait(under_way + 1, place.patience_s)
    child.end(signal.SIGKILL)
    child = place.serve(*arguments, again=True)
    until(lambda: told <= _named(receiver.arrived), place.patience_s)
    _settled(receiver.arrived)
    child.end()

    if missing := told - _named(receiver.arrived):
        raise Broken(f"{len(missing)} of {len(told)} incidents were kept and never arrived")
    times = Counter(one.headers.get("webhook-id", "") for one in receiver.arrived)
    again = sum(times.values()) - len(times)
    # At each of the two kills one message was on its way, and nobody knew whether it was taken.
    if again > 2 or max(times.values()) > 3:
        raise Broken(f"{again} messages came again, expected the one that was under way at each of 2 kills")
    if len(_opened(receiver.arrived)) > len(told):
        raise Broken("an incident was told as new under two ids")
    return f"{len(told)} incidents arrived in {len(times)} messages, {again} of them again, after 2 kills"


def _named(arrived: list[Arrived]) -> set[str]:
    return {str(each.get("id")) for one in list(arrived) for each in one.json().get("incidents", [])}


def _opened(arrived: list[Arrived]) -> set[str]:
    """The ids of messages that told of something new."""
    return {one.headers.get("webhook-id", "") for one in arrived if one.json().get("kind") == "open"}


def _settled(arrived: list[Arrived]) -> None:
    """Wait until nothing more comes for a while."""
    before = -1
    while before != len(arrived):
        before = len(arrived)
        until(lambda: False, _QUIET_S)


def harmless_in_slack(place: Place) -> str:
    """Have lines with mentions, links and markup told to a Slack of our own."""
    receiver = place.receive()
    child = place.serve("--slack-webhook", f"{receiver.url}/services/x")
    play(place.connect(child), {"shop": [f"{POOL} steered {text} end" for text in _HOSTILE]})
    incident_of(child, "shop", place.patience_s)
    if not receiver.wait(1, place.patience_s):
        raise Broken(f"no message came within {place.patience_s:g} s of an incident")
    child.end()

    shown = 0
    for one in list(receiver.arrived):
        said = one.json()
        if said.get("unfurl_links") is not False or said.get("unfurl_media") is not False:
            raise Broken("a message lets Slack look up links")
        for text in _texts(said):
            shown += text.count("steered")
            if live := _ANYWHERE.search(text) or _BESIDE_CODE.search(_CODE.sub(" ", text)):
                raise Broken(f"{live[0]!r} of a log line stands in a message")
    if not shown:
        raise Unchecked("no hostile line was told")
    return f"{shown} lines with mentions, links and markup told, nothing of them live"


def _texts(value: object) -> list[str]:
    """All that is shown of a message. Raises Broken where Slack would look for addresses in it."""
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    if not isinstance(value, dict):
        return []
    if value.get("type") == "mrkdwn" and value.get("verbatim") is not True:
        raise Broken("a text lets Slack make links of what looks like an address")
    text: Any = value.get("text")
    return ([text] if isinstance(text, str) else []) + [found for each in value.values() for found in _texts(each)]


def destinations_are_named(place: Place) -> str:
    """Name a machine that the configuration does not; then fail at one that it may, and look for its secret."""
    try:
        place.serve("--slack-webhook", f"https://{_ELSEWHERE}/services/{_SECRET}")
    except Unchecked as refused:
        told = str(refused)
    else:
        raise Broken(f"it started with {_ELSEWHERE} as a destination, which no configuration names")
    _without_secret("its refusal", told)
    if f"{_ELSEWHERE} is not this machine" not in told:
        raise Unchecked(told)

    receiver = place.receive(lambda one: (500, f"cannot route {one.path}".encode()))
    child = place.serve("--slack-webhook", f"{receiver.url}/services/{_SECRET}")
    play(place.connect(child))
    incident_of(child, "shop", place.patience_s)
    if not receiver.wait(1, place.patience_s):
        raise Broken(f"no message came within {place.patience_s:g} s of an incident")
    until(lambda: "500" in child.get("/destinations")[1], place.patience_s)
    shown = {path: child.get(path)[1] for path in ("/destinations", "/metrics", "/readyz")}
    child.end()
    _without_secret("an event", json.dumps(child.events))
    _without_secret("its log", "".join(child.errors))
    for path, text in shown.items():
        _without_secret(path, text)
    return f"{_ELSEWHERE} was refused, and the secret of an address that answers 500 with it is shown nowhere"


def _without_secret(where: str, text: str) -> None:
    if _SECRET.rpartition("/")[2] in text:
        raise Broken(f"the secret of a destination's address stands in {where}")
