//! A census of sockets: every one that a process has open, and the network stack it is of.

use crate::{
    Assembler, Instruction, Register, Size,
    btf::{self, Btf, Id, Kind},
    iterator::Attached,
    unavailable::{Result, Unavailable},
};

/// A socket that a process has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketFile {
    /// The process, as numbered in the first pid namespace.
    pub pid: u32,
    /// The thread that has it, numbered likewise. It is the process's first, and stands for the others, which share its
    /// descriptors; but one that shares them no longer, or whose first has ended, stands for itself.
    pub tid: u32,
    /// The number of the descriptor.
    pub fd: u32,
    /// The inode number, as in `socket:[4711]`: the same for all descriptors of one socket.
    pub inode: u64,
    /// The cookie of the network namespace that the socket was made in, as `SO_NETNS_COOKIE` says it.
    pub netns: u64,
}

/// The program that takes the census, loaded.
#[derive(Debug)]
pub struct Sockets(Attached);

/// Every socket that a process on this machine has open. To take it more than once, load [`Sockets`] once.
///
/// It sees what the caller's pid namespace has. In any but the first the numbers of processes are still those
/// of the first one, which say nothing there: ask [`kernel::namespace::is_first`] before. It does not see sockets that
/// are on their way through others (`SCM_RIGHTS`) and those that only the kernel holds.
///
/// # Errors
///
/// The program cannot be loaded: `CAP_BPF` and `CAP_PERFMON` (or `CAP_SYS_ADMIN`) are missing in the first user
/// namespace, no /sys is mounted, or the kernel was built without; see [`Unavailable`].
pub fn sockets() -> Result<Vec<SocketFile>> {
    Sockets::load()?.census()
}

impl Sockets {
    /// Loads the program: Linux 5.14.
    ///
    /// # Errors
    ///
    /// Those of [`sockets`].
    pub fn load() -> Result<Self> {
        let bytes = btf::of_kernel().map_err(Unavailable::Unreadable)?;
        let (target, places) = Places::find(&Btf::parse(&bytes)?)?;
        let code = program(&places).ok_or(Unavailable::Missing("short enough program"))?;
        Ok(Self(Attached::load(target, c"sockets", &code)?))
    }

    /// Takes the census, as [`sockets`] does: in the order of threads and their descriptors. Others go on opening and
    /// closing meanwhile.
    ///
    /// # Errors
    ///
    /// The kernel has no memory left, or the like.
    pub fn census(&self) -> Result<Vec<SocketFile>> {
        let bytes = self.0.run()?;
        let (records, _) = bytes.as_chunks();
        Ok(records.iter().map(SocketFile::read).collect())
    }
}

/// Where in the kernel's structures the program finds what it needs.
#[derive(Clone, Copy, Debug)]
struct Places {
    meta: i16,
    meta_seq: i16,
    task: i16,
    task_pid: i16,
    task_tgid: i16,
    fd: i16,
    file: i16,
    file_inode: i16,
    inode_number: i16,
    socket_sk: i16,
    sk_net: i16,
    net_cookie: i16,
}

impl Places {
    /// With the id of the iterator.
    fn find(btf: &Btf<'_>) -> Result<(Id, Self)> {
        let [target, context, socket] = btf.find([
            (Kind::Function, "bpf_iter_task_file"),
            (Kind::Struct, "bpf_iter__task_file"),
            // What the helper returns.
            (Kind::Struct, "socket"),
        ]);
        let target = target.ok_or(Unavailable::Missing("iterator task_file"))?;
        let context = context.ok_or(Unavailable::Missing("struct bpf_iter__task_file"))?;
        let socket = socket.ok_or(Unavailable::Missing("struct socket"))?;
        // All others are reached from these, as the verifier does it: there may be several of one name.
        let (meta, of_meta) = pointer(btf, context, &["meta"], "bpf_iter__task_file.meta")?;
        let (meta_seq, _) = pointer(btf, of_meta, &["seq"], "bpf_iter_meta.seq")?;
        let (task, of_task) = pointer(btf, context, &["task"], "bpf_iter__task_file.task")?;
        let (file, of_file) = pointer(btf, context, &["file"], "bpf_iter__task_file.file")?;
        let (file_inode, inode) = pointer(btf, of_file, &["f_inode"], "file.f_inode")?;
        let (socket_sk, sk) = pointer(btf, socket, &["sk"], "socket.sk")?;
        let (sk_net, net) = pointer(btf, sk, &["__sk_common", "skc_net", "net"], "sock.__sk_common.skc_net")?;
        let places = Self {
            meta,
            meta_seq,
            task,
            task_pid: integer(btf, of_task, "pid", 4, "task_struct.pid")?,
            task_tgid: integer(btf, of_task, "tgid", 4, "task_struct.tgid")?,
            fd: integer(btf, context, "fd", 4, "bpf_iter__task_file.fd")?,
            file,
            file_inode,
            inode_number: integer(btf, inode, "i_ino", 8, "inode.i_ino")?,
            socket_sk,
            sk_net,
            net_cookie: integer(btf, net, "net_cookie", 8, "net.net_cookie")?,
        };
        Ok((target, places))
    }
}

/// The place of a pointer, and what it points to.
fn pointer(btf: &Btf<'_>, of: Id, path: &[&str], what: &'static str) -> Result<(i16, Id)> {
    let find = || {
        let field = btf.field(of, path)?;
        Some((i16::try_from(field.offset).ok()?, btf.pointee(field.id)?))
    };
    find().ok_or(Unavailable::Missing(what))
}

/// The place of an integer of so many bytes.
fn integer(btf: &Btf<'_>, of: Id, name: &str, bytes: u32, what: &'static str) -> Result<i16> {
    let find = || {
        let field = btf.field(of, &[name])?;
        (btf.integer(field.id)? == bytes).then_some(i16::try_from(field.offset).ok()?)
    };
    find().ok_or(Unavailable::Missing(what))
}

// A record, as the program writes it and `read` takes it: where each part begins, and its length.
const PID: i16 = 0;
const TID: i16 = 4;
const FD: i16 = 8;
const UNUSED: i16 = 12;
const INODE: i16 = 16;
const NETNS: i16 = 24;
const RECORD: i16 = 32;

/// The program: writes a record for a file that is a socket.
fn program(at: &Places) -> Option<Vec<[u8; 8]>> {
    use Register::{R0, R1, R2, R3, R6, R7, R8, R10};
    const SEQ_WRITE: i32 = 127;
    const SOCK_FROM_FILE: i32 = 162;
    let load = |to, from, offset| Instruction::load(Size::Double, to, from, offset);
    let load_word = |to, from, offset| Instruction::load(Size::Word, to, from, offset);
    // The record is what is last on the stack.
    let store = |offset: i16, from| Instruction::store(Size::Double, R10, offset - RECORD, from);
    let store_word = |offset: i16, from| Instruction::store(Size::Word, R10, offset - RECORD, from);

    let mut program = Assembler::new();
    let end = program.label();
    program.push(Instruction::copy(R6, R1));
    // Both are null when the last file has been seen.
    program.push(load(R7, R6, at.task)).jump_if_equal(R7, 0, end);
    program.push(load(R8, R6, at.file)).jump_if_equal(R8, 0, end);
    program.push(Instruction::copy(R1, R8)).push(Instruction::call(SOCK_FROM_FILE)).jump_if_equal(R0, 0, end);
    // None: the socket is shut down and of no stack any more.
    program.push(load(R1, R0, at.socket_sk)).jump_if_equal(R1, 0, end);
    program.push(load(R1, R1, at.sk_net)).push(load(R1, R1, at.net_cookie)).push(store(NETNS, R1));
    program.push(load(R1, R8, at.file_inode)).push(load(R1, R1, at.inode_number)).push(store(INODE, R1));
    program.push(load_word(R1, R7, at.task_tgid)).push(store_word(PID, R1));
    program.push(load_word(R1, R7, at.task_pid)).push(store_word(TID, R1));
    program.push(load_word(R1, R6, at.fd)).push(store_word(FD, R1));
    // What is not set may not be written.
    program.push(Instruction::store_value(Size::Word, R10, UNUSED - RECORD, 0));
    program.push(load(R1, R6, at.meta)).push(load(R1, R1, at.meta_seq));
    program.push(Instruction::copy(R2, R10)).push(Instruction::add(R2, (-RECORD).into()));
    program.push(Instruction::set(R3, RECORD.into())).push(Instruction::call(SEQ_WRITE));
    program.place(end).push(Instruction::set(R0, 0)).push(Instruction::exit());
    program.finish()
}

impl SocketFile {
    fn read(record: &[u8; RECORD as usize]) -> Self {
        Self {
            pid: u32::from_ne_bytes(part(record, PID)),
            tid: u32::from_ne_bytes(part(record, TID)),
            fd: u32::from_ne_bytes(part(record, FD)),
            inode: u64::from_ne_bytes(part(record, INODE)),
            netns: u64::from_ne_bytes(part(record, NETNS)),
        }
    }
}

/// So many bytes of a record.
fn part<const N: usize>(record: &[u8; RECORD as usize], at: i16) -> [u8; N] {
    let from = record.get(usize::from(at.unsigned_abs())..).and_then(<[u8]>::first_chunk);
    from.copied().unwrap_or([0; N])
}
