"""Holds a namespace of another process in one of many ways, until it is killed: holder.py KIND PID.

Prints "held" when it does. Everything is made inside by a visit, and held outside.
"""

import ctypes
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

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


def moved_tap():
    device = tap()
    # The thread that starts it is in the stack; we as a process are not.
    subprocess.run(["ip", "link", "set", "t0", "netns", str(os.getpid())], check=True)
    return device


def listening_unix():
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\0holder")
    listener.listen()
    return listener


class Ring:
    """A ring of io_uring(7), mapped as it usually is."""

    def __init__(self):
        params = ctypes.create_string_buffer(120)
        self.fd = call(425, 4, params)  # io_uring_setup
        # Of the queue of requests: its tail, and the array of indices into the requests themselves.
        self.tail, self.array = (struct.unpack_from("I", params, at)[0] for at in (44, 64))
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
        self.queue, self.requests = (libc.mmap(None, 4096, 3, 1, self.fd, at) for at in (0, 0x10000000))

    def register(self, fd):
        call(427, self.fd, 2, (ctypes.c_int * 1)(fd), 1)  # IORING_REGISTER_FILES

    def submit(self, operation, fd, flags=0):
        request = struct.pack("BBHiQQIIQ", operation, 0, 0, fd, 0, 0, 0, flags, 1)
        ctypes.memmove(self.requests, request.ljust(64, b"\0"), 64)
        ctypes.c_uint.from_address(self.queue + self.array).value = 0
        ctypes.c_uint.from_address(self.queue + self.tail).value += 1
        assert call(426, self.fd, 1, 0, 0, None, 0) == 1  # io_uring_enter


def registered(sock):
    ring = Ring()
    ring.register(sock.fileno())
    sock.close()
    return ring


def requested(operation, flags=0):
    """A request that waits for a socket that is closed since."""
    ring, sock = Ring(), visit("net", listening_unix)
    ring.submit(operation, sock.fileno(), flags)
    sock.close()
    return ring


def closed_ring():
    ring = registered(visit("net", listening_unix))
    os.close(ring.fd)
    return ring


def ring_of_namespaces():
    ring, fd = Ring(), os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    ring.register(fd)
    os.close(fd)
    return ring


def closed_during(waits):
    """A thread that waits in a call on a socket that another closes meanwhile."""
    fd = visit("net", listening_unix).detach()
    os.set_blocking(fd, True)
    thread = threading.Thread(target=waits, args=[fd], daemon=True)
    thread.start()
    state = f"/proc/self/task/{thread.native_id}/stat"
    while open(state).read().rsplit(") ", 1)[1][0] != "S":
        time.sleep(0.01)
    time.sleep(0.1)
    os.close(fd)


def accepting(fd):
    libc.accept(fd, None, None)


def polling(fd):
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.poll()


def selecting(fd):
    select.select([fd], [], [])


def in_a_thread(act):
    """What only a thread with descriptors of its own has open."""
    ready = threading.Event()

    def stay():
        assert libc.unshare(0x400) == 0  # CLONE_FILES
        visit("net", act)
        ready.set()
        signal.pause()

    threading.Thread(target=stay, daemon=True).start()
    ready.wait()


def detached(recursive):
    """A copy of a mount of the namespace, or of a tree with such a mount in it, that is mounted nowhere."""
    os.mkdir("/tmp/pins")
    libc.mount(b"pins", b"/tmp/pins", b"tmpfs", 0, None)
    open("/tmp/pins/net", "w").close()
    libc.mount(f"/proc/{pid}/ns/net".encode(), b"/tmp/pins/net", None, 4096, None)  # MS_BIND
    path, flags = (b"/tmp/pins", 0x8001) if recursive else (b"/tmp/pins/net", 1)
    kept.append(call(428, -100, path, flags))  # open_tree, OPEN_TREE_CLONE and AT_RECURSIVE
    libc.umount2(b"/tmp/pins", 2)  # MNT_DETACH
    os.rmdir("/tmp/pins")


def netfilter():
    """A BPF program that lets all pass, in a netfilter hook."""
    code = struct.pack("<Bxhi", 0xB7, 0, 1) + struct.pack("<Bxhi", 0x95, 0, 0)
    code, words = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    at = ctypes.addressof
    load = struct.pack("IIQQIIQII16sII", 32, 2, at(code), at(words), 0, 0, 0, 0, 0, b"pass", 0, 45)
    program = call(321, 5, ctypes.create_string_buffer(load, 120), 120)  # BPF_PROG_LOAD
    link = struct.pack("IIIIIIiI", program, 0, 45, 0, 2, 0, -128, 0)
    kept.append(call(321, 28, ctypes.create_string_buffer(link, 64), 64))  # BPF_LINK_CREATE
    os.close(program)


def watched(path):
    watch = libc.inotify_init()
    assert libc.inotify_add_watch(watch, path.encode(), 0xFFF) > 0
    return watch


def unread():
    """A message that a socket inside, which is closed since, has sent to one outside."""
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind("/tmp/receiver")
    visit("net", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)).sendto(b"x", "/tmp/receiver")
    os.unlink("/tmp/receiver")
    kept.pop().close()
    kept.append(receiver)


def connected():
    """A socket outside that is connected to one inside, which is closed since."""
    server = visit("net", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    server.bind("/tmp/server")
    client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    client.connect("/tmp/server")
    os.unlink("/tmp/server")
    kept.pop().close()
    kept.append(client)


def by_a_member(act):
    """What a process in the user namespace does, which hands a descriptor out and ends."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        there = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY)
        assert libc.setns(there, 0) == 0
        socket.send_fds(theirs, [b"x"], [act()])
        os._exit(0)
    kept.extend(socket.recv_fds(ours, 1, 1)[1])
    os.waitpid(child, 0)
    ours.close()
    theirs.close()


def served():
    """A connection to a process in the user namespace, which ends."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("/tmp/listener")
    child = os.fork()
    if child == 0:
        there = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY)
        assert libc.setns(there, 0) == 0
        listener.listen()
        listener.accept()
        os._exit(0)
    client = socket.socket(socket.AF_UNIX)
    while client.connect_ex("/tmp/listener") != 0:
        time.sleep(0.01)
    os.waitpid(child, 0)
    os.unlink("/tmp/listener")
    listener.close()
    kept.append(client)


def queue():
    """A POSIX message queue, as the root of the namespace makes it."""
    root = int(open(f"/proc/{pid}/uid_map").read().split()[1])
    libc.setfsgid(root)
    libc.setfsuid(root)
    queues = ctypes.CDLL("librt.so.1", use_errno=True)
    made = queues.mq_open(b"/queue", os.O_RDWR | os.O_CREAT, 0o600, None)
    libc.setfsuid(0)
    libc.setfsgid(0)
    assert made >= 0, os.strerror(ctypes.get_errno())
    return made


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
elif kind == "baretap":
    visit("net", lambda: os.open("/dev/net/tun", os.O_RDWR))
elif kind == "movedtap":
    visit("net", moved_tap)
elif kind == "threadsocket":
    in_a_thread(lambda: socket.socket())
elif kind == "threadtap":
    in_a_thread(tap)
elif kind == "threadfd":
    in_a_thread(lambda: os.open(f"/proc/{pid}/ns/net", os.O_RDONLY))
elif kind == "ringpoll":
    kept.append(requested(6, 1))  # IORING_OP_POLL_ADD of POLLIN
elif kind == "ringaccept":
    kept.append(requested(13))  # IORING_OP_ACCEPT
elif kind == "ringclosed":
    kept.append(closed_ring())
elif kind == "ringns":
    kept.append(ring_of_namespaces())
elif kind == "accepting":
    closed_during(accepting)
elif kind == "polling":
    closed_during(polling)
elif kind == "selecting":
    closed_during(selecting)
elif kind == "detached":
    detached(False)
elif kind == "tree":
    detached(True)
elif kind == "context":
    visit("net", lambda: call(430, b"sysfs", 0))  # fsopen
elif kind == "ipccontext":
    visit("ipc", lambda: call(430, b"mqueue", 0))
elif kind == "netfilter":
    visit("net", netfilter)
elif kind == "watch":
    kept.append(watched(f"/proc/{pid}/ns/net"))
elif kind == "unread":
    unread()
elif kind == "connected":
    connected()
elif kind == "mounts":
    kept.append(os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY))
elif kind == "children":
    assert libc.setns(os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY), 0) == 0
    os.closerange(3, 9)
elif kind == "opened":
    by_a_member(lambda: os.open("/dev/null", os.O_RDONLY))
elif kind == "served":
    served()
elif kind == "pidfd":
    kept.append(os.pidfd_open(int(pid)))
elif kind == "procfile":
    kept.append(open(f"/proc/{pid}/status"))
elif kind == "procdir":
    kept.append(os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY))
elif kind == "queue":
    visit("ipc", queue)
elif kind == "setting":
    visit("net", lambda: open("/proc/sys/net/ipv4/ip_forward"))
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
