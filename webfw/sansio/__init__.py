"""Protocols without I/O: bytes in, meanings out; no socket, no clock, no await may enter."""
