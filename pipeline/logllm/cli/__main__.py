"""Runs `logllm` as `python -m logllm.cli`."""

from logllm.cli.main import main

main(prog_name="logllm")
