//! A census of sockets: every one that a process has open, and the network stack it is of.

use crate::{
    Assembler, Instruction, Register, Size,
    btf::Btf,
    iterator::Attached,
    task_file::{self, FILE, TaskFile, Types, WHO, integer, load_double, pointer},
    unavailable::Result,
};

/// A socket that a process has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketFile {
    /// The process, as numbered in the caller's pid namespace.
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
/// It sees what the caller's pid namespace has. It does not see sockets that are on their way through others
/// (`SCM_RIGHTS`) and those that only the kernel holds.
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
        let load = |btf: &Btf<'_>, types, task| Ok(program(&task, &Places::find(btf, types)?));
        Ok(Self(task_file::load(c"sockets", load)?))
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
    file_inode: i16,
    inode_number: i16,
    socket_sk: i16,
    sk_net: i16,
    net_cookie: i16,
}

impl Places {
    fn find(btf: &Btf<'_>, types: Types) -> Result<Self> {
        let (file_inode, inode) = pointer(btf, types.file, &["f_inode"], "file.f_inode")?;
        let (socket_sk, sk) = pointer(btf, types.socket, &["sk"], "socket.sk")?;
        let (sk_net, net) = pointer(btf, sk, &["__sk_common", "skc_net", "net"], "sock.__sk_common.skc_net")?;
        Ok(Self {
            file_inode,
            inode_number: integer(btf, inode, &["i_ino"], 8, "inode.i_ino")?,
            socket_sk,
            sk_net,
            net_cookie: integer(btf, net, &["net_cookie"], 8, "net.net_cookie")?,
        })
    }
}

// A record, as the program writes it and `read` takes it: where each part begins, and its length.
const INODE: i16 = WHO;
const NETNS: i16 = WHO + 8;
const RECORD: i16 = WHO + 16;

/// The program: writes a record for a file that is a socket.
fn program(task: &TaskFile, at: &Places) -> Option<Vec<[u8; 8]>> {
    use Register::{R0, R1, R10};
    const SOCK_FROM_FILE: i32 = 162;
    // The record is what is last on the stack.
    let store = |offset: i16| Instruction::store(Size::Double, R10, offset - RECORD, R1);

    let mut program = Assembler::new();
    let end = task.begin(&mut program);
    program.push(Instruction::copy(R1, FILE)).push(Instruction::call(SOCK_FROM_FILE));
    program.jump_if_equal(R0, 0, end);
    // None: the socket is shut down and of no stack any more.
    program.push(load_double(R1, R0, at.socket_sk)).jump_if_equal(R1, 0, end);
    program.push(load_double(R1, R1, at.sk_net)).push(load_double(R1, R1, at.net_cookie)).push(store(NETNS));
    program.push(load_double(R1, FILE, at.file_inode));
    program.push(load_double(R1, R1, at.inode_number)).push(store(INODE));
    task.end(&mut program, end, RECORD);
    program.finish()
}

impl SocketFile {
    fn read(record: &[u8; RECORD as usize]) -> Self {
        let (pid, tid, fd) = task_file::who(record);
        let [inode, netns] = [INODE, NETNS].map(|at| task_file::double(record, at));
        Self { pid, tid, fd, inode, netns }
    }
}
