"""Ports of loopback for the servers of tests. Only the standard library."""
import pathlib
import random
import socket

_taken = []  # Open until this process ends, and with it its claim.


def _candidates():
    """Below or above those that the kernel gives to clients, where there are any."""
    low, high = map(int, pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    return [port for port in range(10_000, 65_536) if not low <= port <= high] or list(range(10_000, 65_536))


def free_port():
    """A port at which nobody listens, and which is this process's until it ends: no other test is given it, and no client of any process has it
    by chance, so that a server may come to it late, go, and come again."""
    candidates = _candidates()
    while True:
        port = random.SystemRandom().choice(candidates)
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0millrace-test-port-{port}")  # A name that goes with its socket, and is nobody's file.
            with socket.socket() as probe:
                probe.bind(("0.0.0.0", port))
        except OSError:
            claim.close()
            continue
        _taken.append(claim)
        return port
