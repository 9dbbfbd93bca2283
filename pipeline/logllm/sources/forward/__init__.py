"""Fluent's forward protocol, the receiving side: `protocol` is bytes in and chunks out, `server` has the sockets."""
