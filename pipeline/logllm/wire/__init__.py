"""What both ends of a protocol need: bytes made and read, no sockets and no state."""
