"""A relay in front of servers: what a client library does not show, such as sizes and connections, is counted on the way."""

import contextlib
import random
import socket
import struct
import threading

RESET = struct.pack("ii", 1, 0)  # of SO_LINGER: closing sends a reset


class Relay:
    """Passes bytes between clients and a port: of the server, or of one of several, chosen anew for each connection, as
    kube-proxy does for the endpoints of a Service."""

    def __init__(self, *ports: int) -> None:
        self.targets = list(ports)
        self.connections, self.sent, self.received = 0, 0, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.sockets: list[socket.socket] = [self.listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.connections += 1
                try:
                    server = socket.create_connection(("127.0.0.1", random.choice(self.targets)))
                except OSError:
                    self._reset(client)
                    continue
                self.sockets += [client, server]
                threading.Thread(target=self._pump, args=(client, server, "sent"), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, "received"), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, count: str) -> None:
        try:
            while data := source.recv(1 << 16):
                setattr(self, count, getattr(self, count) + len(data))
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for end in (source, sink):
                self._reset(end)

    @staticmethod
    def _reset(end: socket.socket) -> None:
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        for open_socket in self.sockets:
            open_socket.close()
