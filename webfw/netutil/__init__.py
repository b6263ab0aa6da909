"""Networking without streams: listening sockets, host names, TLS settings, addresses as text."""

from webfw.netutil.addresses import AddressSet, BindAddress, is_valid_ip, parse_bind
from webfw.netutil.resolver import (
    BlockingResolver,
    DefaultExecutorResolver,
    DefaultLoopResolver,
    ExecutorResolver,
    OverrideResolver,
    Resolver,
    ThreadedResolver,
)
from webfw.netutil.sockets import add_accept_handler, bind_sockets, bind_unix_socket
from webfw.netutil.tls import client_context, ssl_options_to_context, ssl_wrap_socket

__all__ = [
    "AddressSet",
    "BindAddress",
    "BlockingResolver",
    "DefaultExecutorResolver",
    "DefaultLoopResolver",
    "ExecutorResolver",
    "OverrideResolver",
    "Resolver",
    "ThreadedResolver",
    "add_accept_handler",
    "bind_sockets",
    "bind_unix_socket",
    "client_context",
    "is_valid_ip",
    "parse_bind",
    "ssl_options_to_context",
    "ssl_wrap_socket",
]
