//! What programs at a cgroup are given, and say: linux/bpf.h. It is the same on each kernel.

use crate::instruction::Register::{self, R2, R3, R4, R5};

/// The registers that have an IPv4 address while it is looked at. The last words of an IPv6 address are there, so that
/// the IPv4 address in one is where others are.
pub(super) const V4: &[Register] = &[R5];
/// The registers that have an IPv6 address while it is looked at.
pub(super) const V6: &[Register] = &[R2, R3, R4, R5];

/// What a program returns for what may be done.
pub(super) const ALLOW: i32 = 1;

// `struct bpf_sock_addr`.
pub(super) const USER_IP4: i16 = 4;
pub(super) const USER_IP6: i16 = 8;
/// The IPv4 address in an IPv6 one.
pub(super) const USER_MAPPED: i16 = USER_IP6 + 12;
pub(super) const USER_PORT: i16 = 24;
pub(super) const TYPE: i16 = 32;
pub(super) const MSG_SRC_IP4: i16 = 40;
pub(super) const MSG_SRC_IP6: i16 = 44;
pub(super) const SK: i16 = 64;

// `struct bpf_sock`.
pub(super) const FAMILY: i16 = 4;
pub(super) const SRC_IP4: i16 = 24;
pub(super) const SRC_IP6: i16 = 28;

// `struct __sk_buff`.
pub(super) const PROTOCOL: i16 = 16;
pub(super) const DATA: i16 = 76;
pub(super) const DATA_END: i16 = 80;

// `enum bpf_func_id`.
pub(super) const GET_CURRENT_UID_GID: i32 = 15;
/// In bind(2): Linux 5.12.
pub(super) const GETSOCKOPT: i32 = 57;
pub(super) const BIND: i32 = 64;
/// Linux 5.18.
pub(super) const SET_RETVAL: i32 = 187;

// Families, of linux/socket.h.
pub(super) const AF_INET: i32 = 2;
pub(super) const AF_INET6: i32 = 10;

// Of asm-generic/socket.h.
pub(super) const SOL_SOCKET: i32 = 1;
pub(super) const SO_REUSEADDR: i32 = 2;
pub(super) const SO_REUSEPORT: i32 = 15;
/// Of linux/net.h.
pub(super) const SOCK_STREAM: i32 = 1;
