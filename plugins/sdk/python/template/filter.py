"""{{name}}: drops debug records and marks errors."""

import logllm


def init(config):
    """Called once, with the table `config` of the filter's configuration. What it raises refuses to start."""
    logllm.log(f"{{name}} is ready, its config is {config}")


def filter(record, tag, time):
    """Called for each record, a dict. Give back the record, changed or not, or None to drop it.

    `tag` is the stream it came in, `time` its nanoseconds since 1970. A filter of one parameter gets the record alone.
    What it raises costs this record and no other.
    """
    level = record.get("level")
    if level == "debug":
        return None
    if level == "error":
        record["seen_by"] = "{{name}}"
    return record
