//! A census of what files keep of user namespaces.

use crate::{
    Assembler, Instruction, Register, Size,
    btf::{Btf, Id, Kind},
    task_file::{self, FILE, TaskFile, WHO, integer, load_double, load_word, pointer},
    unavailable::{Result, Unavailable},
};

/// A file that a process has open, and the user namespaces that it keeps, by their inode numbers.
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
}

/// Every file that a process on this machine has open, of those that the caller's pid namespace has.
///
/// # Errors
///
/// Those of [`sockets`](crate::sockets).
pub fn owners() -> Result<Vec<OwnedFile>> {
    let program =
        task_file::load(c"owners", |btf, of_file, task| Ok(program(&task, &Places::find(btf, of_file)?)))?;
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
}

impl Places {
    fn find(btf: &Btf<'_>, of_file: Id) -> Result<Self> {
        let [socket] = btf.find([(Kind::Struct, "socket")]);
        let socket = socket.ok_or(Unavailable::Missing("struct socket"))?;
        let (file_cred, cred) = pointer(btf, of_file, &["f_cred"], "file.f_cred")?;
        let (cred_userns, userns) = pointer(btf, cred, &["user_ns"], "cred.user_ns")?;
        let (file_inode, inode) = pointer(btf, of_file, &["f_inode"], "file.f_inode")?;
        let (inode_sb, sb) = pointer(btf, inode, &["i_sb"], "inode.i_sb")?;
        let (socket_sk, sk) = pointer(btf, socket, &["sk"], "socket.sk")?;
        Ok(Self {
            file_cred,
            cred_userns,
            userns_inode: integer(btf, userns, &["ns", "inum"], 4, "user_namespace.ns.inum")?,
            file_inode,
            inode_sb,
            sb_userns: pointer(btf, sb, &["s_user_ns"], "super_block.s_user_ns")?.0,
            socket_sk,
            sk_peer: pointer(btf, sk, &["sk_peer_cred"], "sock.sk_peer_cred")?.0,
        })
    }
}

// A record, as the program writes it and `read` takes it: where each part begins, and its length.
const OPENER: i16 = WHO;
const MOUNTER: i16 = WHO + 4;
const PEER: i16 = WHO + 8;
const UNUSED: i16 = WHO + 12;
const RECORD: i16 = WHO + 16;

/// The program: writes a record for each file.
fn program(task: &TaskFile, at: &Places) -> Option<Vec<[u8; 8]>> {
    use Register::{R0, R1, R10};
    const SOCK_FROM_FILE: i32 = 162;
    let store = |offset: i16| Instruction::store(Size::Word, R10, offset - RECORD, R1);
    let store_zero = |offset: i16| Instruction::store_value(Size::Word, R10, offset - RECORD, 0);

    let mut program = Assembler::new();
    let end = task.begin(&mut program);
    let no_peer = program.label();
    program.push(load_double(R1, FILE, at.file_cred)).push(load_double(R1, R1, at.cred_userns));
    program.push(load_word(R1, R1, at.userns_inode)).push(store(OPENER));
    program.push(load_double(R1, FILE, at.file_inode)).push(load_double(R1, R1, at.inode_sb));
    program.push(load_double(R1, R1, at.sb_userns));
    program.push(load_word(R1, R1, at.userns_inode)).push(store(MOUNTER));
    program.push(store_zero(PEER)).push(store_zero(UNUSED));
    program.push(Instruction::copy(R1, FILE)).push(Instruction::call(SOCK_FROM_FILE));
    program.jump_if_equal(R0, 0, no_peer);
    program.push(load_double(R1, R0, at.socket_sk)).jump_if_equal(R1, 0, no_peer);
    // None: it was never connected.
    program.push(load_double(R1, R1, at.sk_peer)).jump_if_equal(R1, 0, no_peer);
    program.push(load_double(R1, R1, at.cred_userns));
    program.push(load_word(R1, R1, at.userns_inode)).push(store(PEER));
    program.place(no_peer);
    task.end(&mut program, end, RECORD);
    program.finish()
}

impl OwnedFile {
    fn read(record: &[u8; RECORD as usize]) -> Self {
        let (pid, tid, fd) = task_file::who(record);
        let [opener, mounter, peer] = [OPENER, MOUNTER, PEER].map(|at| task_file::word(record, at));
        Self { pid, tid, fd, opener, mounter, peer }
    }
}
