//! Hosts of all three sorts, and mountinfo with anything in it.

use super::*;

const UNIFIED: &str = "\
24 30 0:22 / /sys rw,nosuid shared:7 - sysfs sysfs rw
35 24 0:30 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate
";

const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:1 master:2 - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

const HYBRID_OWN: &str = "9:name=systemd:/\n4:memory:/shell\n2:cpu,cpuacct:/\n1:pids:/\n0::/\n";

fn found(mountinfo: &str, cgroups: &str, controllers: &[&str]) -> Vec<Option<String>> {
    let all = Hierarchies::of(mountinfo, cgroups);
    let text = |p: &Path| p.to_str().unwrap().to_owned();
    let unified = all.unified.as_deref().map(text);
    std::iter::once(unified).chain(controllers.iter().map(|c| all.legacy(c).map(text))).collect()
}

fn some(list: &[&str]) -> Vec<Option<String>> {
    list.iter().map(|s| (!s.is_empty()).then(|| (*s).to_owned())).collect()
}

#[test]
fn hosts_of_each_sort() {
    let three = ["memory", "cpu", "pids"];
    assert_eq!(found(UNIFIED, "0::/user.slice\n", &three), some(&["/sys/fs/cgroup", "", "", ""]));
    let hybrid = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/cpu,cpuacct", ""];
    assert_eq!(found(HYBRID, HYBRID_OWN, &three), some(&hybrid));
    assert_eq!(found("", HYBRID_OWN, &three), some(&["", "", "", ""]));
}

#[test]
fn the_last_usable_mount_counts_and_one_above_us_is_none() {
    let more = "50 1 0:32 /../.. /above rw - cgroup cgroup rw,memory\n\
                51 1 0:38 /.. /above2 rw - cgroup2 cgroup2 rw\n\
                52 1 0:38 / /again rw - cgroup2 cgroup2 rw\n";
    let all = found(&format!("{HYBRID}{more}"), HYBRID_OWN, &["memory"]);
    assert_eq!(all, some(&["/again", "/sys/fs/cgroup/memory"]));
}

#[test]
fn a_container_without_cgroup_namespace_sees_its_own_directory_mounted() {
    let mounts = "9 1 0:32 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
    let at = |path: &str| found(mounts, &format!("4:memory:{path}\n"), &["memory"]);
    assert_eq!(at("/docker/ab"), some(&["", "/sys/fs/cgroup/memory"]));
    assert_eq!(at("/docker/ab/x"), some(&["", "/sys/fs/cgroup/memory"]));
    assert_eq!(at("/docker/abc"), some(&["", ""]));
    assert_eq!(at("/"), some(&["", ""]));
}

#[test]
fn controllers_are_enabled_from_the_top_down_to_above_the_directory() {
    let top = std::env::temp_dir().join(format!("enable-{}", std::process::id()));
    let dir = top.join("jail/7");
    fs::create_dir_all(&dir).unwrap();
    for (name, enabled) in [("", "cpu memory\n"), ("jail", "cpu\n"), ("jail/7", "")] {
        fs::write(top.join(name).join("cgroup.subtree_control"), enabled).unwrap();
    }
    enable(&dir, "memory").unwrap();
    let text = |name: &str| fs::read_to_string(top.join(name).join("cgroup.subtree_control")).unwrap();
    assert_eq!([text(""), text("jail"), text("jail/7")], ["cpu memory\n", "+memory", ""]);
    fs::remove_dir_all(top).unwrap();
}

/// Numbers that look random and are the same each time (xorshift of 64 bits).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides).unwrap()
    }

    fn text(&mut self, alphabet: &str, longest: u64) -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        (0..self.roll(longest)).map(|_| letters[self.roll(letters.len() as u64)]).collect()
    }
}

/// As the kernel escapes a path.
fn escape(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            ' ' | '\t' | '\n' | '\\' => format!("\\{:03o}", u32::from(c)),
            c => c.to_string(),
        })
        .collect()
}

#[test]
fn whatever_is_mounted_is_read_back() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..5000 {
        let path = |dice: &mut Dice| format!("/{}", dice.text("ab/. \t\n\\0147é-:", 12));
        let mount = Mount {
            root: path(&mut dice),
            point: path(&mut dice),
            kind: format!("k{}", dice.text("abc.", 6)),
            options: format!("rw{}", dice.text(",=ab", 9)),
        };
        let optional = ["", " shared:1", " shared:1 master:2", " unbindable"][dice.roll(4)];
        let [root, point] = [&mount.root, &mount.point].map(|t| escape(t));
        let line = format!("9 1 0:1 {root} {point} rw{optional} - {} none {}", mount.kind, mount.options);
        assert_eq!(parse(&line), Some(mount), "{line}");
    }
}

#[test]
fn nonsense_is_no_mount_and_never_a_panic() {
    let mut dice = Dice(1);
    for _ in 0..5000 {
        let text = dice.text("ab/ -:,.\\0179\ncgroup2é", 60);
        assert_eq!(Hierarchies::of(&text, &text).legacy("memory"), None);
        let plain = unescape(&text);
        assert!(plain.chars().count() <= text.chars().count(), "{text}");
    }
    for line in ["", " - ", "1 2 3 / /x - cgroup2 x", "1 2 3 /", "1 2 3 / /x rw cgroup2 x rw"] {
        assert_eq!(parse(line), None, "{line}");
    }
}
