//! One netlink(7) request of a process that has nothing but raw system calls.

use linux_raw_sys::general as sys;

use super::call;

/// Sends a message to rtnetlink(7) and reads its acknowledgement: 0, or the negative error number.
pub(super) fn send(message: &[u8]) -> isize {
    let [family, kind] = [libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC].map(|n| n as usize);
    let socket = call(sys::__NR_socket, [family, kind, libc::NETLINK_ROUTE as usize, 0, 0, 0]);
    if socket < 0 {
        return socket;
    }
    let socket = socket as usize;
    let done = talk(socket, message);
    call(sys::__NR_close, [socket, 0, 0, 0, 0, 0]);
    done
}

fn talk(socket: usize, message: &[u8]) -> isize {
    // A socket that was not bound talks to the kernel.
    let sent = call(sys::__NR_sendto, [socket, message.as_ptr() as usize, message.len(), 0, 0, 0]);
    if sent < 0 {
        return sent;
    }
    let mut answer = [0_u8; 1024];
    let got = call(sys::__NR_recvfrom, [socket, answer.as_mut_ptr() as usize, answer.len(), 0, 0, 0]);
    if got < 0 {
        return got;
    }
    // struct nlmsghdr, then the error of struct nlmsgerr: 0 acknowledges.
    match answer {
        [_, _, _, _, 2, 0, _, _, _, _, _, _, _, _, _, _, a, b, c, d, ..] if got >= 20 => {
            i32::from_ne_bytes([a, b, c, d]) as isize
        }
        _ => -(super::sys_errno::EBADMSG as isize),
    }
}
