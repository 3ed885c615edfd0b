//! A census of what files keep of user namespaces, and sockets of other network stacks.

use crate::{
    Assembler, Instruction, Register, Size,
    btf::Btf,
    task_file::{self, FILE, TaskFile, Types, WHO, integer, load_double, load_word, pointer},
    unavailable::{Result, Unavailable},
};

/// A file that a process has open, and the namespaces that it keeps without being one of theirs, by their inode numbers:
/// user namespaces, but for the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnedFile {
    /// The process, as numbered in the caller's pid namespace.
    pub pid: u32,
    /// The thread that has it: see [`SocketFile::tid`](crate::SocketFile::tid).
    pub tid: u32,
    /// The number of the descriptor.
    pub fd: u32,
    /// That of whoever opened it.
    pub opener: u32,
    /// That of whoever mounted the file system that it is of.
    pub mounter: u32,
    /// Of a connected unix(7) socket, that of whoever was at the other end then; else 0.
    pub peer: u32,
    /// Of a connected unix(7) socket, the network namespace of the socket at the other end, which it keeps when that is
    /// closed; else 0.
    pub peer_stack: u32,
}

/// Every file that a process on this machine has open, of those that the caller's pid namespace has.
///
/// # Errors
///
/// Those of [`sockets`](crate::sockets), with Linux 5.16 instead of 5.14.
pub fn owners() -> Result<Vec<OwnedFile>> {
    let program =
        task_file::load(c"owners", |btf, types, task| Ok(program(&task, &Places::find(btf, types)?)))?;
    let bytes = program.run()?;
    let (records, _) = bytes.as_chunks();
    Ok(records.iter().map(OwnedFile::read).collect())
}

/// Where in the kernel's structures the program finds what it needs.
#[derive(Clone, Copy, Debug)]
struct Places {
    file_cred: i16,
    cred_userns: i16,
    userns_inode: i16,
    file_inode: i16,
    inode_sb: i16,
    sb_userns: i16,
    socket_sk: i16,
    sk_peer: i16,
    unix_peer: i16,
    sk_net: i16,
    net_inode: i16,
}

impl Places {
    fn find(btf: &Btf<'_>, types: Types) -> Result<Self> {
        let unix = types.unix.ok_or(Unavailable::Missing("struct unix_sock"))?;
        let (file_cred, cred) = pointer(btf, types.file, &["f_cred"], "file.f_cred")?;
        let (cred_userns, userns) = pointer(btf, cred, &["user_ns"], "cred.user_ns")?;
        let (file_inode, inode) = pointer(btf, types.file, &["f_inode"], "file.f_inode")?;
        let (inode_sb, sb) = pointer(btf, inode, &["i_sb"], "inode.i_sb")?;
        let (socket_sk, sk) = pointer(btf, types.socket, &["sk"], "socket.sk")?;
        let (sk_net, net) = pointer(btf, sk, &["__sk_common", "skc_net", "net"], "sock.__sk_common.skc_net")?;
        Ok(Self {
            file_cred,
            cred_userns,
            userns_inode: integer(btf, userns, &["ns", "inum"], 4, "user_namespace.ns.inum")?,
            file_inode,
            inode_sb,
            sb_userns: pointer(btf, sb, &["s_user_ns"], "super_block.s_user_ns")?.0,
            socket_sk,
            sk_peer: pointer(btf, sk, &["sk_peer_cred"], "sock.sk_peer_cred")?.0,
            unix_peer: pointer(btf, unix, &["peer"], "unix_sock.peer")?.0,
            sk_net,
            net_inode: integer(btf, net, &["ns", "inum"], 4, "net.ns.inum")?,
        })
    }
}

// A record, as the program writes it and `read` takes it: where each part begins, and its length.
const OPENER: i16 = WHO;
const MOUNTER: i16 = WHO + 4;
const PEER: i16 = WHO + 8;
const PEER_STACK: i16 = WHO + 12;
const RECORD: i16 = WHO + 16;

/// The program: writes a record for each file.
fn program(task: &TaskFile, at: &Places) -> Option<Vec<[u8; 8]>> {
    use Register::{R0, R1, R9, R10};
    const SOCK_FROM_FILE: i32 = 162;
    const SKC_TO_UNIX_SOCK: i32 = 178;
    let store = |offset: i16| Instruction::store(Size::Word, R10, offset - RECORD, R1);
    let store_zero = |offset: i16| Instruction::store_value(Size::Word, R10, offset - RECORD, 0);

    let mut program = Assembler::new();
    let end = task.begin(&mut program);
    let (no_peer, no_socket) = (program.label(), program.label());
    program.push(load_double(R1, FILE, at.file_cred)).push(load_double(R1, R1, at.cred_userns));
    program.push(load_word(R1, R1, at.userns_inode)).push(store(OPENER));
    program.push(load_double(R1, FILE, at.file_inode)).push(load_double(R1, R1, at.inode_sb));
    program.push(load_double(R1, R1, at.sb_userns));
    program.push(load_word(R1, R1, at.userns_inode)).push(store(MOUNTER));
    program.push(store_zero(PEER)).push(store_zero(PEER_STACK));
    program.push(Instruction::copy(R1, FILE)).push(Instruction::call(SOCK_FROM_FILE));
    program.jump_if_equal(R0, 0, no_socket);
    program.push(load_double(R9, R0, at.socket_sk)).jump_if_equal(R9, 0, no_socket);
    // None of these: it was never connected.
    program.push(load_double(R1, R9, at.sk_peer)).jump_if_equal(R1, 0, no_peer);
    program.push(load_double(R1, R1, at.cred_userns));
    program.push(load_word(R1, R1, at.userns_inode)).push(store(PEER));
    program.place(no_peer);
    program.push(Instruction::copy(R1, R9)).push(Instruction::call(SKC_TO_UNIX_SOCK));
    program.jump_if_equal(R0, 0, no_socket);
    program.push(load_double(R1, R0, at.unix_peer)).jump_if_equal(R1, 0, no_socket);
    program.push(load_double(R1, R1, at.sk_net));
    program.push(load_word(R1, R1, at.net_inode)).push(store(PEER_STACK));
    program.place(no_socket);
    task.end(&mut program, end, RECORD);
    program.finish()
}

impl OwnedFile {
    fn read(record: &[u8; RECORD as usize]) -> Self {
        let (pid, tid, fd) = task_file::who(record);
        let [opener, mounter, peer, peer_stack] =
            [OPENER, MOUNTER, PEER, PEER_STACK].map(|at| task_file::word(record, at));
        Self { pid, tid, fd, opener, mounter, peer, peer_stack }
    }
}
