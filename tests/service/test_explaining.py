from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from logllm.errors import ModelError
from logllm.explain.config import ExplainConfig
from logllm.explain.redact.redactor import Redactor
from logllm.explain.runbooks.search import Catalogue
from logllm.service.explaining import Explaining
from tests.notify.dispatch.dispatching import incident

if TYPE_CHECKING:
    from pathlib import Path

    from logllm.events import Explanation


def test_without_the_default_model_facts_and_runbooks_are_told_and_the_catalogue_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGLLM_MODELS", str(tmp_path / "none"))
    told: list[Explanation] = []
    notices: list[str] = []
    with Catalogue.load() as catalogue:
        explaining = Explaining(
            ExplainConfig(), catalogue, Redactor(), tmp_path, deliver=told.append, notice=notices.append
        )

        explaining.submit(incident(1))
        assert explaining.drain(20)

        # The pipeline asks it, too, for as long as the run lasts.
        assert catalogue.best("write failed: No space left on device") is not None
        explaining.close()
    assert [each.model for each in told] == ["none"]
    assert told[0].status != "failed"
    assert len(notices) == 1
    assert notices[0].endswith("going on with facts and runbooks alone")
    assert explaining.usage() is None


def test_a_model_that_was_asked_for_by_name_and_is_not_there_is_an_error(tmp_path: Path) -> None:
    with Catalogue.load() as catalogue:
        with pytest.raises(ModelError):
            Explaining(
                ExplainConfig(model=str(tmp_path / "none.gguf")),
                catalogue,
                Redactor(),
                None,
                deliver=lambda _: None,
                notice=lambda _: None,
            )

        assert catalogue.best("write failed: No space left on device") is not None
