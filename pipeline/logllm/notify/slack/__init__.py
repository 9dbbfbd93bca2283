"""Slack, by an incoming webhook or by a bot that can change what it said."""

from logllm.notify.slack.config import SlackConfig

__all__ = ["SlackConfig"]
