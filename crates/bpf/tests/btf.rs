//! Types of a kernel that is very small, and of none at all.

use bpf::btf::{self, Btf, Field, Id, Kind};
use proptest::prelude::*;

/// A description being written: names and types.
#[derive(Default)]
struct Blob {
    names: Vec<u8>,
    types: Vec<u8>,
    count: Id,
}

impl Blob {
    fn new() -> Self {
        Self { names: vec![0], ..Self::default() }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = u32::try_from(self.names.len()).unwrap();
        self.names.extend(name.as_bytes());
        self.names.push(0);
        at
    }

    /// Adds a type; `more` is what follows its head.
    fn add(&mut self, name: &str, info: u32, size_or_type: u32, more: &[u32]) -> Id {
        let name = self.name(name);
        self.types.extend([name, info, size_or_type].iter().chain(more).flat_map(|word| word.to_ne_bytes()));
        self.count += 1;
        self.count
    }

    fn integer(&mut self, size: u32) -> Id {
        self.add("int", 1 << 24, size, &[0x20])
    }

    fn pointer(&mut self, to: Id) -> Id {
        self.add("", 2 << 24, to, &[])
    }

    /// With members by name, type and place.
    fn structure(&mut self, name: &str, members: &[(&str, Id, u32)]) -> Id {
        let place =
            |blob: &mut Self| members.iter().flat_map(|m| [blob.name(m.0), m.1, m.2]).collect::<Vec<_>>();
        let more = place(self);
        self.add(name, 4 << 24 | u32::try_from(members.len()).unwrap(), 64, &more)
    }

    fn bytes(&self) -> Vec<u8> {
        let length = |of: &[u8]| u32::try_from(of.len()).unwrap();
        let (types, names) = (length(&self.types), length(&self.names));
        let mut bytes = 0xeb9f_u16.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        bytes.extend([24, 0, types, types, names].iter().flat_map(|word: &u32| word.to_ne_bytes()));
        [bytes, self.types.clone(), self.names.clone()].concat()
    }
}

#[test]
fn types_are_found_by_kind_and_whole_name() {
    let mut blob = Blob::new();
    let longer = blob.structure("sockets", &[]);
    let function = blob.add("socket", 12 << 24, 0, &[]);
    // Those with something behind them: array, enumeration, prototype, variable, section, tag, long enumeration.
    for (kind, count, words) in
        [(3, 0, 3), (6, 2, 4), (13, 1, 2), (14, 0, 1), (15, 1, 3), (17, 0, 1), (19, 1, 3)]
    {
        blob.add("socket", kind << 24 | count, 4, &vec![0; words]);
    }
    let first = blob.structure("socket", &[("a", 1, 0)]);
    blob.structure("socket", &[]);
    let bytes = blob.bytes();
    let btf = Btf::parse(&bytes).unwrap();
    let wanted = ["sockets", "socket", "sock", ""].map(|name| (Kind::Struct, name));
    // One without a name has the empty one.
    assert_eq!(btf.find(wanted), [Some(longer), Some(first), None, None]);
    assert_eq!(btf.find([(Kind::Function, "socket")]), [Some(function)]);
}

#[test]
fn a_path_leads_through_structures_names_and_qualifiers() {
    let mut blob = Blob::new();
    let cookie = blob.integer(8);
    let net = blob.structure("net", &[("cookie", cookie, 128)]);
    let to_net = blob.pointer(net);
    let possible = blob.structure("", &[("net", to_net, 0)]);
    let named = blob.add("possible_net_t", 8 << 24, possible, &[]);
    let constant = blob.add("", 10 << 24, named, &[]);
    let common = blob.structure("sock_common", &[("state", cookie, 0), ("net", constant, 64)]);
    let within = blob.structure("", &[("hidden", cookie, 8), ("pad", cookie, 72)]);
    let sock = blob.structure("sock", &[("", within, 0), ("common", common, 192), ("", within, 512)]);
    let bytes = blob.bytes();
    let btf = Btf::parse(&bytes).unwrap();

    assert_eq!(btf.field(sock, &["common", "net", "net"]), Some(Field { offset: 24 + 8, id: to_net }));
    assert_eq!(btf.pointee(to_net), Some(net));
    assert_eq!(btf.field(net, &["cookie"]), Some(Field { offset: 16, id: cookie }));
    assert_eq!(btf.field(sock, &["hidden"]), Some(Field { offset: 1, id: cookie }));
    assert_eq!(btf.integer(cookie), Some(8));
    for path in [&["net"][..], &["common", "none"], &["common", "net", "net", "cookie"]] {
        // A pointer is not followed.
        assert_eq!(btf.field(sock, path), None, "{path:?}");
    }
    assert_eq!((btf.pointee(net), btf.integer(net), btf.field(0, &["x"])), (None, None, None));
}

#[test]
fn a_bit_field_has_no_place() {
    let mut blob = Blob::new();
    let int = blob.integer(4);
    // With the flag, a member has its size in bits in the upper byte.
    let names = [blob.name("bit"), blob.name("whole"), blob.name("odd")];
    let members = [names[0], int, 1 << 24 | 8, names[1], int, 32, names[2], int, 33];
    let of = blob.add("flags", 1 << 31 | 4 << 24 | 3, 8, &members);
    let bytes = blob.bytes();
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.field(of, &["bit"]), None);
    assert_eq!(btf.field(of, &["whole"]), Some(Field { offset: 4, id: int }));
    assert_eq!(btf.field(of, &["odd"]), None);
}

#[test]
fn what_goes_round_in_circles_ends() {
    let mut blob = Blob::new();
    blob.add("a", 8 << 24, 2, &[]);
    blob.add("b", 8 << 24, 1, &[]);
    // A structure that has itself within, many times.
    blob.structure("c", &[("", 3, 8); 1000]);
    let bytes = blob.bytes();
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!((btf.integer(1), btf.field(3, &["x"]), btf.field(1, &["x"])), (None, None, None));
}

#[test]
fn what_is_cut_off_or_unknown_is_said_to_be() {
    let mut blob = Blob::new();
    blob.integer(4);
    blob.structure("s", &[("m", 1, 0)]);
    let bytes = blob.bytes();
    let error = |bytes: &[u8]| Btf::parse(bytes).unwrap_err().to_string();
    for length in 0..bytes.len() {
        assert!(Btf::parse(&bytes[..length]).is_err(), "{length}");
    }
    assert_eq!(error(&bytes[..bytes.len() - 1]), "the names are cut off");
    let swapped: Vec<u8> = [bytes[1], bytes[0]].into_iter().chain(bytes[2..].iter().copied()).collect();
    assert_eq!(error(&swapped), "another format");
    blob.add("new", 31 << 24, 0, &[]);
    assert_eq!(error(&blob.bytes()), "a type is cut off, or of an unknown kind");
}

#[test]
fn the_kernels_own_are_read() {
    let Ok(bytes) = btf::of_kernel() else { return println!("SKIP the_kernels_own: no types") };
    let btf = Btf::parse(&bytes).unwrap();
    let [list, none] = btf.find([(Kind::Struct, "list_head"), (Kind::Struct, "no such thing")]);
    let list = list.unwrap();
    let next = btf.field(list, &["next"]).unwrap();
    assert_eq!((btf.pointee(next.id), next.offset, none), (Some(list), 0, None));
    let prev = btf.field(list, &["prev"]).unwrap();
    assert_eq!(prev.offset, u32::try_from(size_of::<usize>()).unwrap());
}

/// Asks all there is to ask.
fn ask(bytes: &[u8]) {
    let Ok(btf) = Btf::parse(bytes) else { return };
    let found = btf.find([(Kind::Struct, "a"), (Kind::Function, "")]);
    for id in found.into_iter().flatten().chain(0..20).chain([Id::MAX]) {
        let _ = (btf.field(id, &["a", "b"]), btf.field(id, &[""]), btf.pointee(id), btf.integer(id));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        ask(&bytes);
    }

    /// Behind a good header, so that it comes to the types.
    #[test]
    fn any_types_are_read_or_refused(
        types in proptest::collection::vec((0..8_u32, 0..20_u32, 0..4_u32, 0..20_u32), 0..40),
        names in proptest::collection::vec(0..3_u8, 0..8),
    ) {
        let word = |(name, kind, count, of): (u32, u32, u32, u32)| [name, kind << 24 | count, of];
        let types = types.into_iter().flat_map(word).flat_map(u32::to_ne_bytes).collect();
        let names = names.into_iter().map(|of| [0, b'a', b'b'][usize::from(of)]).collect();
        ask(&Blob { names, types, count: 0 }.bytes());
    }

    /// A good one with some bytes changed.
    #[test]
    fn damaged_types_are_read_or_refused(damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6)) {
        let mut blob = Blob::new();
        let int = blob.integer(4);
        let within = blob.structure("", &[("b", int, 8)]);
        let named = blob.add("a", 8 << 24, within, &[]);
        blob.structure("a", &[("a", named, 0), ("", within, 64)]);
        let mut bytes = blob.bytes();
        for (at, byte) in damage {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        ask(&bytes);
    }
}
