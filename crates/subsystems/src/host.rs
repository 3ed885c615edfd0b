//! `host`: the jail's host name, domain name and identity, by a uts namespace (uts_namespaces(7)).

use std::{ffi::CString, path::Path};

use kernel::{
    act::Act,
    namespace::{Kind as Ns, Visit},
    probe::Feature,
    step::{Stage, Step},
};
use rustix::system::{setdomainname, sethostname, uname};
use vimage::{
    Ask, Child, Context as _, Error, House, Instance, Kind, Mode, Param, Piece, Result, Settings, Site,
    Subsystem, Support, Value, When,
};

use crate::{allow, needs};

/// The longest name in bytes: `__NEW_UTS_LEN` of <linux/utsname.h>.
const LONGEST: usize = 64;

/// The subsystem.
#[derive(Clone, Copy, Debug)]
pub struct Host;

/// Its instance for registries.
pub static HOST: Host = Host;

static PARAMS: [Param; 5] = [
    Param {
        name: "host",
        kind: Kind::Mode(&[Mode::New, Mode::Inherit]),
        when: When::Create,
        default: Some("new"),
        help: "whether the jail has a host name of its own",
        doc: "With new the jail has its own host and domain name. With inherit it has its parent's, and \
              follows when they change. Giving any host.* parameter implies new.",
        ..Param::BASE
    },
    Param {
        name: "host.hostname",
        kind: Kind::Text { max: 256 },
        help: "the jail's host name",
        doc: "At most 64 bytes, which is Linux's limit (FreeBSD takes 256). The default is the last part of \
              the jail's name and not, as on FreeBSD, empty: many Linux programs fail without a host name. With \
              allow.set_hostname the jail's root changes it, too; jls(8) shows what it is.",
        ..Param::BASE
    },
    Param {
        name: "host.domainname",
        kind: Kind::Text { max: 256 },
        help: "the jail's NIS domain name",
        doc: "At most 64 bytes. The default is empty; it is not taken from the parent.",
        ..Param::BASE
    },
    Param {
        name: "host.hostuuid",
        kind: Kind::Text { max: 64 },
        when: When::Create,
        help: "the jail's UUID, its /etc/machine-id",
        doc: "A UUID such as 6ba7b810-9dad-11d1-80b4-00c04fd430c8. The jail sees it as /etc/machine-id, \
              machine-id(5). Without one, or with the UUID of zeroes only, the jail gets an id that is always \
              the same for its name on this machine. It cannot be changed after creation: programs read the \
              file once.",
        ..Param::BASE
    },
    Param {
        name: "host.hostid",
        kind: Kind::Int { min: 0, max: u32::MAX as i64 },
        when: When::Create,
        help: "the jail's 32-bit host id, its /etc/hostid",
        doc: "What gethostid(3) returns in the jail, from its /etc/hostid. It has 32 bits on Linux, and \
              cannot be changed after creation.",
        child: Child::Free,
        ..Param::BASE
    },
];

/// What the kinds of its pieces are for the kernel.
const OBJECTS: &[(&str, &str)] = &[(Piece::INSTANCE, "uts namespace")];

impl Subsystem<Act> for Host {
    fn name(&self) -> &'static str {
        "host"
    }

    fn about(&self) -> &'static str {
        "host name, domain name and host ids"
    }

    fn params(&self) -> &'static [Param] {
        &PARAMS
    }

    fn objects(&self) -> &'static [(&'static str, &'static str)] {
        OBJECTS
    }

    fn probe(&self) -> Support {
        needs::namespaces(Feature::UtsNamespaces, &["host"])
    }

    fn after(&self) -> &'static [&'static str] {
        &["user"]
    }

    fn resolve(&self, ask: &mut Ask<'_>) {
        // Of a jail that is to be named by its number, which is not known yet, the site tells.
        let known =
            ask.living.is_some() || ask.jid != 0 || ask.given.text("name").is_some_and(|n| !n.is_empty());
        if known && ask.settings.is_new("host") && ask.settings.text("host.hostname").is_none() {
            ask.settings.set("host.hostname", Value::Text(default_name(ask.name).to_owned()));
        }
    }

    fn check(&self, ask: &Ask<'_>) -> Result<()> {
        for name in ["host.hostname", "host.domainname"] {
            let text = ask.settings.text(name).unwrap_or_default();
            if text.len() > LONGEST {
                let error =
                    Error::usage(format!("{name}: name of {} bytes is too long \"{text}\"", text.len()));
                return Err(error.hint(format!("Linux takes at most {LONGEST} bytes")));
            }
        }
        match ask.settings.text("host.hostuuid") {
            Some(text) if hex_of_uuid(text).is_none() => {
                let error = Error::usage(format!("host.hostuuid: not a UUID \"{text}\""));
                Err(error.hint("it looks like 6ba7b810-9dad-11d1-80b4-00c04fd430c8"))
            }
            _ => Ok(()),
        }
    }

    fn prepare(&self, site: &mut Site<'_>) -> Result<Vec<Act>> {
        if !site.settings.is_new("host") {
            return Ok(Vec::new());
        }
        let text = |name: &str| {
            let unsaid = if name == "host.hostname" { default_name(site.name) } else { "" };
            CString::new(site.settings.text(name).unwrap_or(unsaid))
                .map_err(|_| Error::usage(format!("{name}: value with a null byte")))
        };
        // A new uts namespace starts as a copy of its maker's: both are always set.
        let below = allow::sets_hostname(site.settings);
        Ok(vec![
            if below { Act::Below(Ns::Uts) } else { Act::Namespace(Ns::Uts, None) },
            Act::Step(Stage::Identity, Step::Hostname(text("host.hostname")?)),
            Act::Step(Stage::Identity, Step::Domainname(text("host.domainname")?)),
        ])
    }

    fn create(&self, site: &mut Site<'_>) -> Result<()> {
        let at_birth = site.settings.is_new("host") && !allow::sets_hostname(site.settings);
        if at_birth { site.adopt("uts") } else { Ok(()) }
    }

    fn complete(&self, site: &mut Site<'_>) -> Result<()> {
        let late = site.settings.is_new("host") && allow::sets_hostname(site.settings);
        if late { site.adopt("uts") } else { Ok(()) }
    }

    fn update(&self, site: &mut Site<'_>, old: &Settings) -> Result<Vec<Act>> {
        if !site.settings.is_new("host") {
            return Ok(Vec::new());
        }
        let Some(uts) = site.instance().fd("uts")? else {
            return Err(Error::new(vimage::ErrorKind::NotFound, "host: the uts namespace is gone"));
        };
        let _inside = Visit::enter(&*uts, Ns::Uts).doing("host: cannot enter the uts namespace")?;
        // What is not to change may have been changed inside.
        let changed = |name: &str| {
            let text = site.settings.text(name).unwrap_or_default();
            (text != old.text(name).unwrap_or_default()).then_some(text)
        };
        if let Some(name) = changed("host.hostname") {
            sethostname(name.as_bytes()).doing_with(|| format!("host.hostname: cannot set \"{name}\""))?;
        }
        if let Some(name) = changed("host.domainname") {
            setdomainname(name.as_bytes())
                .doing_with(|| format!("host.domainname: cannot set \"{name}\""))?;
        }
        Ok(Vec::new())
    }

    fn inspect(&self, of: &Instance<'_>, wanted: &dyn Fn(&str) -> bool) -> Result<Settings> {
        let uts = of.nearest("uts")?;
        // An instance of its own that is gone has no live values; without any the host's hold.
        if of.settings.is_new("host") && of.fd("uts")?.is_none() {
            return Ok(Settings::default());
        }
        let mut values = Settings::default();
        if wanted("host.hostname") || wanted("host.domainname") {
            let _inside = uts
                .map(|uts| Visit::enter(&*uts, Ns::Uts).doing("host: cannot enter the uts namespace"))
                .transpose()?;
            let live = uname();
            for (name, text) in [("host.hostname", live.nodename()), ("host.domainname", live.domainname())] {
                values.set(name, Value::Text(text.to_string_lossy().into_owned()));
            }
        }
        values.set("host.hostid", Value::Int(of.settings.int("host.hostid").unwrap_or(0)));
        // Whoever may not read the secret that it is made of sees none.
        if let Some(uuid) = wanted("host.hostuuid").then(|| uuid(of).ok()).flatten() {
            values.set("host.hostuuid", Value::Text(uuid));
        }
        Ok(values)
    }
}

/// The content of the jail's /etc/machine-id without its newline: 32 hexadecimal digits, machine-id(5).
///
/// That of `host.hostuuid`; else one that the jail's name has on this machine, marked as a random UUID
/// (RFC 9562, version 4).
///
/// # Errors
/// As [`House::stable`].
pub fn machine_id(settings: &Settings, name: &str, house: &dyn House) -> Result<String> {
    let given = settings.text("host.hostuuid").and_then(hex_of_uuid);
    // machine-id(5) forbids all zeroes, which is FreeBSD's word for none.
    if let Some(hex) = given.filter(|hex| hex.bytes().any(|b| b != b'0')) {
        return Ok(hex);
    }
    let half = |which| house.stable(&format!("machine-id {which} {name}"));
    let high = half("high")? & !0xf000 | 0x4000;
    let low = half("low")? & !(0b11 << 62) | 0b10 << 62;
    Ok(format!("{high:016x}{low:016x}"))
}

/// FreeBSD's word for no UUID.
const NO_UUID: &str = "00000000-0000-0000-0000-000000000000";

/// The UUID that the jail's /etc/machine-id says; its tree may have none.
fn uuid(of: &Instance<'_>) -> Result<String> {
    let file = Path::new(of.settings.text("path").unwrap_or("/")).join("etc/machine-id");
    let hex = if of.settings.is_new("host") && file.is_file() {
        machine_id(of.settings, of.name, of.house)?
    } else {
        std::fs::read_to_string(&file).unwrap_or_default().trim().to_owned()
    };
    if hex.len() != 32 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(NO_UUID.to_owned());
    }
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

/// Whether a value of `host.hostid` or `host.hostuuid` stands for none.
#[must_use]
pub fn is_none(value: &Value) -> bool {
    *value == Value::Int(0) || value.text() == NO_UUID
}

/// The jail's host id, the content of its /etc/hostid in the machine's byte order, gethostid(3); `None`: it
/// has none of its own.
#[must_use]
pub fn hostid(settings: &Settings) -> Option<u32> {
    settings.int("host.hostid").and_then(|id| u32::try_from(id).ok())
}

/// The host name of a jail that does not give one: what its parent calls it, cut to what the kernel takes.
fn default_name(jail: &str) -> &str {
    let last = jail.rsplit('.').next().unwrap_or(jail);
    let end = (0..=last.len().min(LONGEST)).rev().find(|end| last.is_char_boundary(*end));
    &last[..end.unwrap_or(0)]
}

/// The digits of a UUID in lower case, without the dashes.
fn hex_of_uuid(text: &str) -> Option<String> {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|g| g.len()).collect();
    let digits = groups.concat();
    let is_uuid = lengths == [8, 4, 4, 4, 12] && digits.bytes().all(|b| b.is_ascii_hexdigit());
    is_uuid.then(|| digits.to_ascii_lowercase())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::fd::{BorrowedFd, OwnedFd};

    use vimage::{Anchor, ErrorKind};

    use super::*;

    /// Whose secret is the length of the words.
    #[derive(Debug)]
    pub(crate) struct Toy;

    impl House for Toy {
        fn open(&self, _: &Anchor) -> Result<Option<OwnedFd>> {
            Ok(None)
        }
        fn anchor(&self, kind: &str, _: BorrowedFd<'_>) -> Result<Anchor> {
            Ok(Anchor(kind.to_owned()))
        }
        fn hold(&self, _: &str, _: &str, _: BorrowedFd<'_>) -> Result<()> {
            Ok(())
        }
        fn release(&self, _: &str) -> Result<()> {
            Ok(())
        }
        fn mark(&self) -> &str {
            "jail"
        }
        fn held(&self) -> Result<Vec<String>> {
            Ok(Vec::new())
        }
        fn living(&self, _: &str, _: &str) -> Result<Option<Anchor>> {
            Ok(None)
        }
        fn number(&self, _: &str) -> Result<u32> {
            Ok(1)
        }
        fn stable(&self, words: &str) -> Result<u64> {
            Ok(u64::MAX - words.len() as u64)
        }
        fn shelf(&self) -> &Path {
            Path::new("/")
        }
    }

    fn settings(name: &str, value: Value) -> Settings {
        [("host".to_owned(), Value::Text("new".into())), (name.to_owned(), value)].into_iter().collect()
    }

    pub(crate) fn ask<'a>(name: &'a str, given: &'a Settings) -> Ask<'a> {
        Ask {
            name,
            jid: 1,
            given,
            settings: given.clone(),
            parent: None,
            above: None,
            living: None,
            house: &Toy,
        }
    }

    #[test]
    fn the_name_is_what_the_parent_calls_the_jail() {
        for (jail, host) in [("web", "web"), ("a.b.db", "db"), (&*"x".repeat(70), &*"x".repeat(64))] {
            let given = settings("host", Value::Text("new".into()));
            let mut ask = ask(jail, &given);
            HOST.resolve(&mut ask);
            assert_eq!(ask.settings.text("host.hostname"), Some(host));
            (ask.jid, ask.settings) = (0, given.clone());
            HOST.resolve(&mut ask);
            assert_eq!(ask.settings.text("host.hostname"), None);
            assert!(HOST.check(&ask).is_ok());
        }
        assert_eq!(default_name(&"é".repeat(40)), "é".repeat(32));
        let given = settings("host", Value::Text("inherit".into()));
        let mut inheriting = ask("web", &given);
        HOST.resolve(&mut inheriting);
        assert_eq!(inheriting.settings.text("host.hostname"), None);
    }

    #[test]
    fn what_linux_cannot_hold_is_refused() {
        let check = |name: &str, text: &str| {
            let given = settings(name, Value::Text(text.into()));
            HOST.check(&ask("web", &given))
        };
        assert!(check("host.domainname", &"d".repeat(64)).is_ok());
        let error = check("host.hostname", &"h".repeat(65)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().starts_with("host.hostname: name of 65 bytes is too long"), "{error}");
        assert_eq!(error.advice(), Some("Linux takes at most 64 bytes"));
        assert!(check("host.hostuuid", "6BA7B810-9dad-11d1-80b4-00c04fd430c8").is_ok());
        for bad in
            ["", "6ba7b810", "6ba7b8109dad11d180b400c04fd430c8", "6ba7b810-9dad-11d1-80b4-00c04fd430cg"]
        {
            assert!(check("host.hostuuid", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn machine_ids_are_the_uuid_or_the_names_own() {
        let uuid = "6BA7B810-9dad-11d1-80b4-00c04fd430c8";
        let given = settings("host.hostuuid", Value::Text(uuid.into()));
        assert_eq!(machine_id(&given, "web", &Toy).unwrap(), "6ba7b8109dad11d180b400c04fd430c8");
        let own = machine_id(&Settings::default(), "web", &Toy).unwrap();
        assert_eq!(own, format!("{:016x}{:016x}", 0xffff_ffff_ffff_4fec_u64, 0xbfff_ffff_ffff_ffec_u64 + 1));
        let zero = settings("host.hostuuid", Value::Text("00000000-0000-0000-0000-000000000000".into()));
        assert_eq!(machine_id(&zero, "web", &Toy).unwrap(), own);
    }

    #[test]
    fn host_ids_have_32_bits() {
        assert_eq!(hostid(&Settings::default()), None);
        assert_eq!(hostid(&settings("host.hostid", Value::Int(0xdead_beef))), Some(0xdead_beef));
        let param = PARAMS.iter().find(|p| p.name == "host.hostid").unwrap();
        assert!(param.parse("0x100000000").is_err());
    }
}
