//! Where a field is.

use super::{
    Btf, Id,
    raw::{self, Raw},
};

/// A field of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// How many bytes of the structure are before it.
    pub offset: u32,
    /// Its type.
    pub id: Id,
}

/// How many steps lead from a name for a type to the type, at most, and how many structures without a name lie within
/// another. The kernel's are far below; what is not makes no sense, and could go round in circles.
const LIMIT: usize = 64;

impl Btf<'_> {
    /// The field of a structure or union that a path of names leads to, from one structure into the next that lies
    /// within it. `None`: there is no such field, or it is a bit field.
    #[must_use]
    pub fn field(&self, of: Id, path: &[&str]) -> Option<Field> {
        path.iter().try_fold(Field { offset: 0, id: of }, |outer, name| {
            let inner = self.member(outer.id, name)?;
            Some(Field { offset: outer.offset.checked_add(inner.offset)?, id: inner.id })
        })
    }

    /// What a pointer points to.
    #[must_use]
    pub fn pointee(&self, pointer: Id) -> Option<Id> {
        let raw = self.bare(pointer)?;
        (raw.kind == raw::POINTER).then_some(raw.size_or_type)
    }

    /// The size of an integer in bytes.
    #[must_use]
    pub fn integer(&self, id: Id) -> Option<u32> {
        let raw = self.bare(id)?;
        (raw.kind == raw::INTEGER).then_some(raw.size_or_type)
    }

    /// The size of a structure in bytes.
    #[must_use]
    pub fn size(&self, id: Id) -> Option<u32> {
        let raw = self.bare(id)?;
        (raw.kind == raw::STRUCT).then_some(raw.size_or_type)
    }

    /// A member by its name, also one of the structures and unions within that have no name themselves.
    fn member(&self, of: Id, name: &str) -> Option<Field> {
        let mut open = vec![Field { offset: 0, id: of }];
        let mut next = 0;
        while let Some(&outer) = open.get(next) {
            next += 1;
            for member in self.bare(outer.id)?.members() {
                let whole = member.bit.is_multiple_of(8) && member.bits == 0;
                let field = Field { offset: outer.offset.checked_add(member.bit / 8)?, id: member.id };
                if self.is_named(member.name, name) {
                    return whole.then_some(field);
                }
                if member.name == 0 && whole && open.len() < LIMIT {
                    open.push(field);
                }
            }
        }
        None
    }

    /// The type itself, behind other names for it and qualifiers.
    fn bare(&self, mut id: Id) -> Option<Raw<'_>> {
        for _ in 0..LIMIT {
            let raw = self.get(id)?;
            match raw.kind {
                raw::TYPEDEF | raw::VOLATILE | raw::CONST | raw::RESTRICT | raw::TYPE_TAG => {
                    id = raw.size_or_type;
                }
                _ => return Some(raw),
            }
        }
        None
    }
}
