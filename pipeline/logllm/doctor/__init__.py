"""Whether this machine, this configuration and the senders are as they should be: `logllm doctor`.

A check looks at one thing and yields `Finding`s. It changes nothing: what it writes to see whether it can, it removes;
a state file that cannot be read stays where it is. What answers over HTTP or lies in a file may be hostile: it is
bounded, and shown as text.
"""
