# SPDX-License-Identifier: MIT OR Apache-2.0
"""Traffic for capture.sh that no stock client makes: TCP connections that stay
open, connections that end in a reset, ports that nobody listens on, and UDP.

    traffic.py server              echo on TCP 9000 and UDP 9001,
                                   TCP 9002 resets each connection
    traffic.py client ADDRESS...   talks to all of these, then listens on TCP
                                   9999 as a sign that it is done, and waits
"""

import random
import selectors
import signal
import socket
import struct
import sys
import time

LINGER_RESET = struct.pack("ii", 1, 0)


def listen(port, kind=socket.SOCK_STREAM):
    sock = socket.socket(socket.AF_INET6, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", port))
    if kind == socket.SOCK_STREAM:
        sock.listen(64)
    return sock


def server():
    selector = selectors.DefaultSelector()
    echo, datagrams, reset = listen(9000), listen(9001, socket.SOCK_DGRAM), listen(9002)
    for sock in (echo, datagrams, reset):
        selector.register(sock, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            sock = key.fileobj
            if sock is echo:
                connection, _ = sock.accept()
                selector.register(connection, selectors.EVENT_READ)
            elif sock is datagrams:
                data, peer = sock.recvfrom(65536)
                sock.sendto(data, peer)
            elif sock is reset:
                connection, _ = sock.accept()
                connection.recv(4096)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
                connection.close()
            else:
                try:
                    data = sock.recv(65536)
                except ConnectionResetError:
                    data = b""
                if data:
                    sock.sendall(data)
                else:
                    selector.unregister(sock)
                    sock.close()


def client(addresses):
    rng = random.Random(1)
    sessions = [socket.create_connection((a, 9000)) for a in addresses for _ in range(12)]
    for sock in sessions:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    family = {a: socket.AF_INET6 if ":" in a else socket.AF_INET for a in addresses}
    peers = [(socket.socket(family[a], socket.SOCK_DGRAM), a) for a in addresses for _ in range(10)]

    def talk(count):
        for _ in range(count):
            sock = rng.choice(sessions)
            message = b"m" * rng.choice((1, 20, 90, 700))
            sock.sendall(message)
            got = 0
            while got < len(message):
                got += len(sock.recv(65536))
            time.sleep(0.01)

    for step in range(12):
        for address in addresses:
            # Nobody listens: the SYN is answered by a reset.
            try:
                socket.create_connection((address, 9100 + step))
            except ConnectionRefusedError:
                pass
            # The server resets.
            with socket.create_connection((address, 9002)) as sock:
                sock.sendall(b"reset me")
                try:
                    sock.recv(1)
                except ConnectionResetError:
                    pass
            # The client resets.
            sock = socket.create_connection((address, 9000))
            sock.sendall(b"hello")
            sock.recv(16)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
            sock.close()
            # A UDP port that nobody listens on: an ICMP error comes back.
            if step % 4 == 0:
                with socket.socket(family[address], socket.SOCK_DGRAM) as sock:
                    sock.sendto(b"anyone?", (address, 9200))
        for sock, address in peers:
            if rng.random() < 0.7:
                sock.sendto(b"d" * rng.choice((10, 100, 3000)), (address, 9001))
                sock.recv(65536)
        talk(40)

    done = listen(9999)
    signal.pause()
    done.close()


if sys.argv[1:] == ["server"]:
    server()
elif sys.argv[1:2] == ["client"] and sys.argv[2:]:
    client(sys.argv[2:])
else:
    sys.exit(__doc__)
