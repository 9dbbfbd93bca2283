from __future__ import annotations

import io
import logging

from logllm.explain.redact.logs import RedactingFormatter
from logllm.explain.redact.redactor import Redactor

SECRET = "hunter2" + "horse"


def _written(shown: logging.Formatter | None, say: str, *args: object, **extra: str) -> str:
    written = io.StringIO()
    logger = logging.Logger("logllm.web.app")
    handler = logging.StreamHandler(written)
    handler.setFormatter(RedactingFormatter(Redactor().mask, shown))
    logger.addHandler(handler)

    try:
        raise ValueError(f"refused: password={SECRET}")
    except ValueError:
        logger.warning(say, *args, exc_info=True, stack_info=True, extra=extra)
    return written.getvalue()


def test_a_message_is_masked_with_its_arguments_and_so_is_the_traceback() -> None:
    written = _written(None, "call of %s with password=%s failed", "10.1.2.3", SECRET)

    assert written.startswith("call of <ip_1> with password=<secret_1> failed\n")
    assert SECRET not in written
    assert "ValueError: refused: password=<secret_1>" in written
    assert "Stack (most recent call last)" in written


def test_a_secret_that_only_the_whole_message_shows_is_masked() -> None:
    written = _written(None, "password=%s", SECRET)

    assert written.startswith("password=<secret_1>\n")


def test_the_form_of_the_line_and_the_name_of_the_logger_stay() -> None:
    form = logging.Formatter("%(levelname)s %(name)s [%(caller)s]: %(message)s")

    written = _written(form, "ready", caller=f"token={SECRET}")

    assert written.startswith("WARNING logllm.web.app [token=<secret_1>]: ready\n")


def test_other_handlers_have_the_record_as_it_was() -> None:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "password=%s", (SECRET,), None)

    masked = RedactingFormatter(Redactor().mask).format(record)

    assert masked == "password=<secret_1>"
    assert record.args == (SECRET,)
    assert record.getMessage() == f"password={SECRET}"


def test_a_traceback_that_another_handler_has_rendered_is_rendered_again() -> None:
    try:
        raise ValueError(f"password={SECRET}")
    except ValueError as error:
        record = logging.LogRecord("x", logging.INFO, __file__, 1, "m", (), (type(error), error, error.__traceback__))
    logging.Formatter().format(record)

    masked = RedactingFormatter(Redactor().mask).format(record)

    assert SECRET in str(record.exc_text)
    assert SECRET not in masked
