"""What the reducer leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logllm.guarantees.scene import incident_of, play
from logllm.guarantees.verdict import Broken, Unchecked
from logllm.guarantees.wire import texts

if TYPE_CHECKING:
    from logllm.guarantees.place import Place

__all__ = ["cited_is_kept"]


def cited_is_kept(place: Place) -> str:
    """Reduce some hours in which a harmless line is all at once very frequent, and look for what the incident cites."""
    file = place.folder / "records.ndjson"
    child = place.serve("--reduce", "--sink", f"file:{file}")
    came = play(place.connect(child), {"shop": ["GET /items/{n} 200 in {n} ms"]}, level="info")
    incident_of(child, "shop", place.patience_s)
    child.end()

    went = texts(file)
    known = set(went)
    cited = [
        str(line.get("text"))
        for event in child.events
        if event.get("type") == "incident"
        for line in event.get("evidence", [])
    ]
    if not cited:
        raise Broken("an incident was told without evidence")
    if missing := [text for text in cited if text not in known]:
        raise Broken(f"{len(missing)} of {len(cited)} lines that incidents cite did not go on: {missing[0]:.60}")
    if len(went) >= came:
        raise Unchecked(f"all {came} records went on, so that nothing could be missing")
    return f"{len(went)} of {came} records went on, all {len(cited)} lines that incidents cite among them"
