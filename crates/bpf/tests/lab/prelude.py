import os, pickle, subprocess, sys
from errno import *
from socket import *


# The stack: the addresses are the host's, of which the jail is given some. The host itself uses the first of a network.
def ip(*words):
    subprocess.run(("ip",) + words, check=True)


ip("link", "set", "lo", "up")
for address in ("10.1.1.3", "10.1.1.1", "10.1.1.2", "10.1.2.3", "10.1.2.1", "10.1.2.2", "10.1.3.3", "10.1.3.1"):
    ip("addr", "add", address + "/24", "dev", "lo")
for address in ("fd01::1", "fd01::2", "fd01::3"):
    ip("addr", "add", address + "/64", "dev", "lo", "nodad")

# Where we were, and from now on the jail.
inside, root = sys.argv[1:]
before = next(line.strip()[3:] for line in open("/proc/self/cgroup") if line.startswith("0::"))


def move(procs):
    with open(procs, "w") as file:
        file.write("0")


move(inside)


def outside(call, *args):
    """What a function returns, or raises, outside of the jail; a socket is one of the host's."""
    near, far = socketpair(AF_UNIX, SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        try:
            move(root + before + "/cgroup.procs")
            try:
                fine, result = True, call(*args)
            except OSError as e:
                fine, result = False, e
            if isinstance(result, socket):
                send_fds(far, [pickle.dumps((fine, None))], [result.fileno()])
            else:
                far.send(pickle.dumps((fine, result)))
        finally:
            os._exit(0)
    far.close()
    message, fds, _, _ = recv_fds(near, 65536, 1)
    os.waitpid(child, 0)
    near.close()
    fine, result = pickle.loads(message)
    if not fine:
        raise result
    return timed(socket(fileno=fds[0])) if fds else result


def timed(s):
    s.settimeout(0.5)
    return s


def listening(family, ip):
    s = timed(socket(family))
    s.bind((ip, 0))
    s.listen()
    return s


def receiving(family, ip):
    s = timed(socket(family, SOCK_DGRAM))
    s.bind((ip, 0))
    return s


def connected(family, to):
    s = timed(socket(family))
    s.connect(to)
    return s


def bound(family, ip):
    """The address that a socket has that was bound to one."""
    with socket(family) as s:
        s.bind((ip, 0))
        return s.getsockname()[0]


def error(call, *args):
    """The error that a function ends with."""
    try:
        call(*args)
    except timeout:
        return "timeout"
    except OSError as e:
        return e.errno


def same(found, wanted):
    assert found == wanted, f"{found!r}, and not {wanted!r}"


def say(word):
    """Says that it has come so far, and waits."""
    print(word, flush=True)
    sys.stdin.readline()
