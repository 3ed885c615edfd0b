//! The form of jail(8) before FreeBSD 8: `jail PATH HOSTNAME IP[,IP...] COMMAND ...`.

/// A jail in the ancient form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ancient {
    path: String,
    hostname: String,
    addresses: String,
    command: Vec<String>,
}

impl Ancient {
    /// Of words without an operation: four at least, the first of them an absolute path.
    pub(super) fn of(words: &[String]) -> Option<Self> {
        let [path, hostname, addresses, command @ ..] = words else { return None };
        let is_one = path.starts_with('/') && !command.is_empty();
        is_one.then(|| Self {
            path: path.clone(),
            hostname: hostname.clone(),
            addresses: addresses.clone(),
            command: command.to_vec(),
        })
    }

    /// The definitions that say the same.
    pub(super) fn definitions(&self) -> Vec<String> {
        let mut words = vec![format!("path={}", self.path), format!("host.hostname={}", self.hostname)];
        let (six, four): (Vec<_>, Vec<_>) =
            self.addresses.split(',').filter(|one| !one.is_empty()).partition(|one| one.contains(':'));
        for (list, addresses) in [("ip4.addr", four), ("ip6.addr", six)] {
            words.extend((!addresses.is_empty()).then(|| format!("{list}={}", addresses.join(","))));
        }
        if self.addresses.is_empty() {
            words.extend(["ip4=disable".to_owned(), "ip6=disable".to_owned()]);
        }
        let (first, others) =
            self.command.split_first().map_or(("", &[][..]), |(first, others)| (first, others));
        words.push(format!("command={first}"));
        words.extend_from_slice(others);
        words
    }

    /// What `-J` writes of it.
    pub(super) fn line(&self, jid: u32) -> String {
        [&*jid.to_string(), &self.path, &self.hostname, &self.addresses, &self.command.join(" ")].join("\t")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Option<Ancient> {
        Ancient::of(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn four_words_behind_an_absolute_path_are_a_jail() {
        let jail = of(&["/srv/a", "a.lan", "10.0.0.1,fd00::1,10.0.0.2", "/bin/sh", "-c", "true"]).unwrap();
        assert_eq!(
            jail.definitions(),
            [
                "path=/srv/a",
                "host.hostname=a.lan",
                "ip4.addr=10.0.0.1,10.0.0.2",
                "ip6.addr=fd00::1",
                "command=/bin/sh",
                "-c",
                "true"
            ]
        );
        assert_eq!(jail.line(7), "7\t/srv/a\ta.lan\t10.0.0.1,fd00::1,10.0.0.2\t/bin/sh -c true");
        assert_eq!(
            of(&["/", "a", "", "true"]).unwrap().definitions(),
            ["path=/", "host.hostname=a", "ip4=disable", "ip6=disable", "command=true"]
        );
        assert_eq!(of(&["/", "a", "10.0.0.1"]), None);
        assert_eq!(of(&["srv", "a", "10.0.0.1", "true"]), None);
    }
}
