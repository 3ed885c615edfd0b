"""Holds a namespace of another process in one of many ways, until it is killed: holder.py KIND PID.

Prints "held" when it does. Everything is made inside by a visit, and held outside.
"""

import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys
import threading

libc = ctypes.CDLL(None, use_errno=True)
kind, pid = sys.argv[1], sys.argv[2]
kept = []
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])


def call(number, *args):
    """A system call that the C library lacks."""
    libc.syscall.restype = ctypes.c_long
    done = libc.syscall(ctypes.c_long(number), *args)
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done


def visit(ns, act):
    """Does something with the calling thread in a namespace of the process."""
    back = os.open(f"/proc/thread-self/ns/{ns}", os.O_RDONLY)
    there = os.open(f"/proc/{pid}/ns/{ns}", os.O_RDONLY)
    for fd in there, back:
        if libc.setns(fd, 0) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        if fd == there:
            kept.append(act())
        os.close(fd)
    return kept[-1]


def listening():
    return socket.create_server(("127.0.0.1", 4711))


def packet_ring():
    ring = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    ring.setsockopt(263, 5, struct.pack("IIII", 4096, 1, 2048, 2))  # SOL_PACKET, PACKET_RX_RING
    # By hand: Python's own mapping keeps a copy of the descriptor.
    libc.mmap(None, ctypes.c_size_t(4096), 3, 1, ring.fileno(), ctypes.c_long(0))
    ring.close()


def tap():
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, 0x400454CA, struct.pack("16sH22x", b"t0", 0x1002))  # TUNSETIFF, IFF_TAP | IFF_NO_PI
    return device


def segment():
    return libc.shmat(libc.shmget(0x1234, ctypes.c_size_t(4096), 0o1600), None, 0)  # IPC_CREAT


def registered(sock):
    ring = call(425, 4, ctypes.create_string_buffer(120))  # io_uring_setup
    call(427, ring, 2, (ctypes.c_int * 1)(sock.fileno()), 1)  # IORING_REGISTER_FILES
    sock.close()
    return ring


def in_flight(sock):
    pair = socket.socketpair()
    socket.send_fds(pair[0], [b"x"], [sock.fileno()])
    sock.close()
    return pair


def leaderless():
    """A thread in the namespace, whose process's first thread has ended."""
    ready = threading.Event()

    def stay():
        fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        libc.setns(fd, 0)
        os.close(fd)
        ready.set()
        signal.pause()

    threading.Thread(target=stay).start()
    ready.wait()
    print("held", flush=True)
    call({"x86_64": 60, "aarch64": 93}[os.uname().machine], 0)  # exit(2), of this thread alone


if kind == "descriptor":
    kept.append(os.open(f"/proc/{pid}/ns/net", os.O_RDONLY))
elif kind == "pinned":
    # Opened where it was mounted, as containers' runtimes do it.
    open("/tmp/pin-once", "w").close()
    libc.mount(f"/proc/{pid}/ns/net".encode(), b"/tmp/pin-once", None, 4096, None)  # MS_BIND
    kept.append(os.open("/tmp/pin-once", os.O_RDONLY))
    libc.umount2(b"/tmp/pin-once", 2)  # MNT_DETACH
    os.unlink("/tmp/pin-once")
elif kind == "orphan":
    kept.append(os.open(f"/proc/{pid}/ns/net", os.O_RDONLY))
elif kind == "tcp":
    visit("net", listening)
elif kind == "udp":
    visit("net", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
elif kind == "unix":
    visit("net", socket.socketpair)
elif kind == "netlink":
    visit("net", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0))
elif kind == "packet":
    visit("net", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
elif kind == "flight":
    kept.append(in_flight(visit("net", lambda: socket.socket())))
elif kind == "ring":
    kept.append(registered(visit("net", lambda: socket.socket(socket.AF_UNIX))))
elif kind == "tcpring":
    kept.append(registered(visit("net", listening)))
elif kind == "mapping":
    visit("net", packet_ring)
elif kind == "tap":
    visit("net", tap)
elif kind == "table":
    visit("net", lambda: open("/proc/thread-self/net/tcp"))
elif kind == "thread":
    leaderless()
elif kind == "segment":
    visit("ipc", segment)
elif kind == "ipctable":
    visit("ipc", lambda: open("/proc/sysvipc/msg"))
else:
    sys.exit(f"no kind {kind}")
print("held", flush=True)
if kind == "orphan":
    # When the jail is removed: a connection in what is left of it, cut off with words to say, and closed.
    signal.sigwait([signal.SIGUSR1])
    libc.setns(kept[0], 0)
    with open("/proc/sys/net/ipv4/tcp_orphan_retries", "w") as retries:
        retries.write("15")
    server = socket.create_server(("127.0.0.1", 4712))
    client = socket.create_connection(server.getsockname())
    fcntl.ioctl(client, 0x8914, struct.pack("16sH22x", b"lo", 0))  # SIOCSIFFLAGS
    client.send(b"last words")
    client.close()
    sys.exit()
signal.pause()
