"""What Slack's answers mean for a message: sent, try again, try without blocks, or never.

Codes of the Web API and of incoming webhooks are told apart by where they come from, and are the same words.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from logllm.errors import NotifyError

if TYPE_CHECKING:
    from logllm.errors import DeliveryError

__all__ = ["ANEW", "RefusedError", "code_of", "failure", "from_transport"]

_BLOCKS = frozenset((
    "invalid_blocks", "invalid_blocks_format", "invalid_attachments", "invalid_payload", "msg_too_long",
    "msg_blocks_too_long", "too_many_attachments", "attachment_payload_limit_exceeded", "invalid_metadata_format",
    "metadata_too_large", "metadata_must_be_sent_from_app", "block_mismatch", "invalid_arguments", "no_text",
    "missing_text_or_fallback_or_attachments", "invalid_request",
))  # fmt: skip
ANEW = frozenset((
    "message_not_found", "edit_window_closed", "cant_update_message", "thread_not_found", "cannot_reply_to_message",
    "is_inactive", "restricted_action_thread_locked",
))  # fmt: skip
"""The message that was to be changed or answered is not there any more, or not ours to change."""
_LIMITED = frozenset(("ratelimited", "rate_limited", "message_limit_exceeded", "accesslimited"))
_TRANSIENT = frozenset((
    "internal_error", "fatal_error", "service_unavailable", "request_timeout", "rollup_error", "team_added_to_org",
    "external_channel_migrating", "unreadable",
))  # fmt: skip
_GONE = frozenset((
    "no_service", "no_service_id", "no_team", "no_active_hooks", "invalid_token", "team_disabled", "user_not_found",
    "channel_not_found", "channel_is_archived", "is_archived", "action_prohibited", "not_in_channel", "not_authed",
    "posting_to_general_channel_denied", "invalid_auth", "account_inactive", "token_revoked", "token_expired",
    "no_permission", "missing_scope", "access_denied", "ekm_access_denied", "org_login_required", "two_factor_setup",
    "restricted_action", "restricted_action_read_only_channel", "restricted_action_non_threadable_channel",
))  # fmt: skip
_CODE = re.compile(r"[a-z][a-z0-9_]{1,63}", re.ASCII)


class RefusedError(NotifyError):
    """Not taken as it is.

    Args:
        code: Slack's word for it, `unreadable` where it is none.
        without_blocks: The same as plain text may be taken.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        code: str = "",
        retry_after_s: float | None = None,
        final: bool = False,
        without_blocks: bool = False,
    ) -> None:
        super().__init__(message, kind=kind, retry_after_s=retry_after_s, final=final)
        self.code = code
        self.without_blocks = without_blocks


def code_of(said: str) -> str:
    """Slack's word in an answer; `unreadable` for what is no such word.

    >>> code_of("invalid_blocks"), code_of(" no_service\\n"), code_of("<html>")
    ('invalid_blocks', 'no_service', 'unreadable')
    """
    word = said.strip()
    return word if _CODE.fullmatch(word) else "unreadable"


def failure(shown: str, status: int, code: str, retry_after_s: float | None) -> RefusedError:
    """The error for an answer that is no success.

    Args:
        shown: The destination, as messages may show it.
        status: Of HTTP.
        code: From `code_of`.
        retry_after_s: What the answer asked for.
    """
    said = f"{shown}: Slack answered {status}{'' if code == 'unreadable' else f' {code}'}"
    if status == 429 or code in _LIMITED:
        return RefusedError(f"{said}: too many messages", kind="rate_limited", code=code, retry_after_s=retry_after_s)
    if status >= 500 or status in (408, 425) or 300 <= status < 400 or (code in _TRANSIENT and status < 300):
        return RefusedError(said, kind="server", code=code, retry_after_s=retry_after_s)
    if code in _GONE or status in (401, 403, 404, 410):
        return RefusedError(said, kind="gone", code=code, final=True)
    if status == 407:
        return RefusedError(f"{said}: the proxy wants to know who we are", kind="io", code=code)
    # A word we do not know may be about the blocks: as plain text it has one more chance.
    tried = code in _BLOCKS or (code not in ANEW and (status in (400, 413, 422) or status < 300))
    return RefusedError(said, kind="invalid", code=code, final=True, without_blocks=tried)


def from_transport(error: DeliveryError) -> NotifyError:
    """No whole answer came. Nobody knows whether the message was taken, but where nothing was sent."""
    return NotifyError(str(error), kind=error.kind)
