"""What a service does about incidents besides printing them: people are told, and actions offered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from logllm.service.acting import Acting
from logllm.service.notifying import Notifying

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from logllm.config import Config
    from logllm.egress import Recorder
    from logllm.events import Explanation, IncidentEvent
    from logllm.explain.runbooks.search import Catalogue
    from logllm.service.answering import Learn

__all__ = ["Alerts"]


class Alerts:
    """Actions and notifications, put together.

    Args:
        watched: The ids of the incidents that are open.
        learn: Learns what people say of incidents, see `Learn`.
        record: Keeps what is sent.
        reveal: See `Notifying`.

    Raises:
        ConfigError: A destination, a route or an action is wrong.
        StateError: The data folder cannot be used.
    """

    def __init__(
        self,
        config: Config,
        catalogue: Catalogue,
        watched: Callable[[], Collection[str]],
        learn: Learn | None = None,
        record: Recorder | None = None,
        reveal: Callable[[str, Collection[str]], str] | None = None,
    ) -> None:
        data_dir = None if config.data_dir is None else Path(config.data_dir)
        self.acting = Acting(config.actions, config.egress, data_dir, catalogue, record=record)
        try:
            self.notifying = Notifying(
                config.notify,
                config.egress,
                data_dir,
                runbook=self.acting.note,
                decide=self.acting.decide,
                watched=watched,
                learn=learn,
                record=record,
                reveal=reveal,
            )
        except BaseException:
            self.acting.close()
            raise
        self._grace_s = config.delivery.grace_s
        self.notices = [*self.acting.notices]
        if config.notify.destinations and data_dir is None:
            self.notices.append("alerts that wait are kept in memory, and lost with it: give a data_dir")

    def start(self) -> None:
        """Begin to send and to run."""
        self.notifying.start()

    def accept(self, events: Sequence[IncidentEvent]) -> None:
        """Keep what happened to incidents; called before anyone else is told."""
        if events:
            self.acting.consider(events)
            self.notifying.accept(events)

    def explained(self, explanation: Explanation) -> None:
        """Keep an explanation, which follows its incident."""
        self.notifying.explained(explanation)

    def change(self, config: Config) -> Callable[[], None]:
        """See `Notifying.change`."""
        return self.notifying.change(config.notify, config.egress)

    def close(self) -> None:
        """Send what can be sent in time, keep the rest. A second call does nothing."""
        self.notifying.close(self._grace_s)
        self.acting.close()
