//! The iterator over all files that processes have open, and what programs for it have in common: who has the file.

use kernel::namespace::{self, Kind as Namespace};

use crate::{
    Assembler, Instruction, Label, Register, Size,
    btf::{self, Btf, Id, Kind},
    iterator::Attached,
    unavailable::{Result, Unavailable},
};

/// Where in the kernel's structures a program finds who has a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaskFile {
    meta: i16,
    meta_seq: i16,
    task: i16,
    task_leader: i16,
    thread_pid: i16,
    pid_level: i16,
    pid_number: i16,
    fd: i16,
    file: i16,
}

// What the records of all programs begin with: where each part is, and how long all are.
const PID: i16 = 0;
const TID: i16 = 4;
const FD: i16 = 8;
const LEVEL: i16 = 12;
pub(crate) const WHO: i16 = 16;

/// Where a program has the file that it is called for, once it has begun.
pub(crate) const FILE: Register = Register::R8;

/// Types that programs start from. They are looked for all at once: the kernel has a hundred thousand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Types {
    /// `struct file`.
    pub file: Id,
    /// `struct socket`, which a helper returns.
    pub socket: Id,
    /// `struct unix_sock`, likewise.
    pub unix: Option<Id>,
}

/// Loads a program for the iterator, made by `program` from the kernel's types. It says who has a file by the numbers in
/// the caller's pid namespace.
pub(crate) fn load(
    name: &std::ffi::CStr,
    program: impl Fn(&Btf<'_>, Types, TaskFile) -> Result<Option<Vec<[u8; 8]>>>,
) -> Result<Attached> {
    let bytes = btf::of_kernel().map_err(Unavailable::Unreadable)?;
    let btf = Btf::parse(&bytes)?;
    let load = |level| {
        let (target, types, places) = TaskFile::find(&btf, level)?;
        let code = program(&btf, types, places)?.ok_or(Unavailable::Missing("short enough program"))?;
        Attached::load(target, name, &code)
    };
    let program = load(0)?;
    if namespace::is_first(Namespace::Pid).unwrap_or(false) {
        return Ok(program);
    }
    // A process has a number in each pid namespace from the first down to its own. How deep the caller's is, is not for
    // it to know; a program is told.
    let output = program.run()?;
    match output.get(LEVEL.unsigned_abs().into()..).and_then(<[u8]>::first_chunk) {
        None | Some([0, 0, 0, 0]) => Ok(program),
        Some(level) => load(u32::from_ne_bytes(*level)),
    }
}

impl TaskFile {
    /// With the id of the iterator, and the types that programs start from. `level`: how deep the pid namespace lies by whose
    /// numbers processes are called.
    fn find(btf: &Btf<'_>, level: u32) -> Result<(Id, Types, Self)> {
        let [target, context, upid, socket, unix] = btf.find([
            (Kind::Function, "bpf_iter_task_file"),
            (Kind::Struct, "bpf_iter__task_file"),
            (Kind::Struct, "upid"),
            (Kind::Struct, "socket"),
            (Kind::Struct, "unix_sock"),
        ]);
        let target = target.ok_or(Unavailable::Missing("iterator task_file"))?;
        let context = context.ok_or(Unavailable::Missing("struct bpf_iter__task_file"))?;
        let upid = upid.ok_or(Unavailable::Missing("struct upid"))?;
        let socket = socket.ok_or(Unavailable::Missing("struct socket"))?;
        // All others are reached from these, as the verifier does it: there may be several of one name.
        let (meta, of_meta) = pointer(btf, context, &["meta"], "bpf_iter__task_file.meta")?;
        let (meta_seq, _) = pointer(btf, of_meta, &["seq"], "bpf_iter_meta.seq")?;
        let (task, of_task) = pointer(btf, context, &["task"], "bpf_iter__task_file.task")?;
        let (file, of_file) = pointer(btf, context, &["file"], "bpf_iter__task_file.file")?;
        let (thread_pid, of_pid) = pointer(btf, of_task, &["thread_pid"], "task_struct.thread_pid")?;
        let number = || {
            let (first, nr) = (btf.field(of_pid, &["numbers"])?.offset, btf.field(upid, &["nr"])?.offset);
            let before = btf.size(upid)?.checked_mul(level)?;
            i16::try_from(first.checked_add(before)?.checked_add(nr)?).ok()
        };
        let places = Self {
            meta,
            meta_seq,
            task,
            task_leader: pointer(btf, of_task, &["group_leader"], "task_struct.group_leader")?.0,
            thread_pid,
            pid_level: integer(btf, of_pid, &["level"], 4, "pid.level")?,
            pid_number: number().ok_or(Unavailable::Missing("pid.numbers"))?,
            fd: integer(btf, context, &["fd"], 4, "bpf_iter__task_file.fd")?,
            file,
        };
        Ok((target, Types { file: of_file, socket, unix }, places))
    }

    /// Begins a program: from here [`FILE`] is the file. To the label, the end, is jumped where there is nothing to write.
    pub(crate) fn begin(&self, program: &mut Assembler) -> Label {
        use Register::{R1, R6, R7};
        let end = program.label();
        program.push(Instruction::copy(R6, R1));
        // Both are null when the last file has been seen.
        program.push(load_double(R7, R6, self.task)).jump_if_equal(R7, 0, end);
        program.push(load_double(FILE, R6, self.file)).jump_if_equal(FILE, 0, end);
        end
    }

    /// Ends a program: writes a record of so many bytes, which is the last on the stack and of which all but the head is
    /// written. Each byte has to be: what is not set may not be written.
    pub(crate) fn end(&self, program: &mut Assembler, end: Label, record: i16) {
        use Register::{R0, R1, R2, R3, R6, R7, R10};
        const SEQ_WRITE: i32 = 127;
        const GET_CURRENT_TASK_BTF: i32 = 158;
        let store = |offset: i16| Instruction::store(Size::Word, R10, offset - record, R1);
        program.push(Instruction::call(GET_CURRENT_TASK_BTF)).push(load_double(R1, R0, self.thread_pid));
        program.push(load_word(R1, R1, self.pid_level)).push(store(LEVEL));
        program.push(load_double(R1, R7, self.task_leader)).push(load_double(R1, R1, self.thread_pid));
        program.push(load_word(R1, R1, self.pid_number)).push(store(PID));
        program.push(load_double(R1, R7, self.thread_pid));
        program.push(load_word(R1, R1, self.pid_number)).push(store(TID));
        program.push(load_word(R1, R6, self.fd)).push(store(FD));
        program.push(load_double(R1, R6, self.meta)).push(load_double(R1, R1, self.meta_seq));
        program.push(Instruction::copy(R2, R10)).push(Instruction::add(R2, (-record).into()));
        program.push(Instruction::set(R3, record.into())).push(Instruction::call(SEQ_WRITE));
        program.place(end).push(Instruction::set(R0, 0)).push(Instruction::exit());
    }
}

/// The process, the thread and the number of the descriptor in a record.
pub(crate) fn who(record: &[u8]) -> (u32, u32, u32) {
    (word(record, PID), word(record, TID), word(record, FD))
}

pub(crate) fn load_double(to: Register, from: Register, offset: i16) -> Instruction {
    Instruction::load(Size::Double, to, from, offset)
}

pub(crate) fn load_word(to: Register, from: Register, offset: i16) -> Instruction {
    Instruction::load(Size::Word, to, from, offset)
}

/// The place of a pointer, and what it points to.
pub(crate) fn pointer(btf: &Btf<'_>, of: Id, path: &[&str], what: &'static str) -> Result<(i16, Id)> {
    let find = || {
        let field = btf.field(of, path)?;
        Some((i16::try_from(field.offset).ok()?, btf.pointee(field.id)?))
    };
    find().ok_or(Unavailable::Missing(what))
}

/// The place of an integer of so many bytes.
pub(crate) fn integer(btf: &Btf<'_>, of: Id, path: &[&str], bytes: u32, what: &'static str) -> Result<i16> {
    let find = || {
        let field = btf.field(of, path)?;
        (btf.integer(field.id)? == bytes).then_some(i16::try_from(field.offset).ok()?)
    };
    find().ok_or(Unavailable::Missing(what))
}

/// A number of four bytes in a record; 0 where it ends before.
pub(crate) fn word(record: &[u8], at: i16) -> u32 {
    let bytes = record.get(usize::from(at.unsigned_abs())..).and_then(<[u8]>::first_chunk);
    u32::from_ne_bytes(bytes.copied().unwrap_or_default())
}

/// A number of eight bytes in a record; 0 where it ends before.
pub(crate) fn double(record: &[u8], at: i16) -> u64 {
    let bytes = record.get(usize::from(at.unsigned_abs())..).and_then(<[u8]>::first_chunk);
    u64::from_ne_bytes(bytes.copied().unwrap_or_default())
}
