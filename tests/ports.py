"""Ports for the servers that tests start."""

import random
import socket

# Below those that systems give to outgoing connections: a server that is started again would find
# its port taken by a client of another one.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Return a port that nothing listens on."""
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
