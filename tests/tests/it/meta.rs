//! Strings that go with a jail: `meta` and `env`.

use vimage_tests::lab_test;

use crate::shell::{all_gone, prints, quiet, refused, run};

lab_test!(pairs_are_as_freebsd_has_them for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=j persist meta env");
    for p in ["meta", "env"] {
        let jail = |line: &str| quiet(lab, &format!("jail -m name=j {}", line.replace('@', p)));
        let jls = |line: &str, said: &str| prints(lab, &format!("jls -jj {}", line.replace('@', p)), &said.replace('@', p));
        jls("@", "\"\"\n");
        jail("@=a=1");
        jls("@ @.a", "a=1 1\n");
        jail("@=\"$(printf 'a=2\\nb=3')\"");
        jls("@.b @ @.a", "3 a=2\nb=3 2\n");
        jls("@.c", "\n");
        jls("--libxo json @.b", "{\"__version\":\"2\",\"jail-information\":{\"jail\":[{\"@.b\":\"3\"}]}}\n");
        jls("--libxo json @.c @.d", "{\"__version\":\"2\",\"jail-information\":{\"jail\":[{}]}}\n");
        jail("@=");
        jls("@.c @ @.a", " \"\" \n");
        jail("@.a=1");
        jail("@.c=3 @.b=2");
        jls("@", "b=2\nc=3\na=1\n");
        jail("@.a=A @.c=C");
        jls("@", "c=C\na=A\nb=2\n");
        jail("@.a=");
        jls("@.a @", "\"\" a=\nc=C\nb=2\n");
        jail("@.b");
        jls("@.b", "\n");
        jls("@", "a=\nc=C\n");
        jail("@.a=1 @=ttt @.b=2");
        jls("@.a", "\n");
        jls("@.b @", "2 b=2\nttt\n");
        jail("@.b==");
        jls("@.b @", "= b==\nttt\n");
        jls("-s @.missing", "@.missing\n");
        jls("-n @.b @.missing", "@.b== @.missing\n");
    }
    quiet(lab, "jail -r j");
});

lab_test!(strings_of_a_jail_are_not_too_large for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=j persist meta=\"$(printf %4095s)\"; jail -m name=j env=\"$(printf %4095s)\"");
    prints(lab, "jls -jj meta | wc -c; jls -jj env | wc -c; jexec j cat /run/jail/env | wc -c", "4096\n4096\n4096\n");
    let hint = "hint: at most 4095 bytes, all lines together\n";
    refused(lab, "jail -m name=j meta=\"$(printf %4096s)\"", &format!("jail: meta: File too large: 4096 bytes\n{hint}"));
    refused(lab, "jail -m name=j env.a=", &format!("jail: env: File too large: 4098 bytes\n{hint}"));
    refused(lab, "jail -c name=k persist env.a=\"$(printf %4094s)\"", &format!("jail: env: File too large: 4096 bytes\n{hint}"));
    quiet(lab, "jail -r j");
});

lab_test!(what_is_no_pair_is_refused for root; needs [CgroupV2]; |lab| {
    refused(lab, "jail -c name=j persist meta.=1", "jail: unknown parameter: meta.\nhint: did you mean meta?\n");
    refused(lab, "jail -c name=j persist meta.a+=1", "jail: meta.a: += needs a list\n");
    refused(lab, "jail -c name=j persist nometa", "jail: unknown parameter: nometa\nhint: did you mean meta?\n");
    refused(lab, "jail -c name=j persist meta.a=\"$(printf 'x\\ny')\"",
        "jail: meta.a: value with a line break\nhint: without a key, all lines can be given\n");
    refused(lab, "jls meta.", "jls: unknown parameter: meta.\nhint: did you mean meta?\n");
});

/// What the jail j reads of its env, and how often it is mounted.
const READ: &str = "jexec j sh -c 'cat /run/jail/env; grep -c /run/jail/env /proc/self/mountinfo'";

lab_test!(a_jail_reads_its_env_and_nothing_else for root; needs [CgroupV2]; |lab| {
    for kind in ["", "user=inherit", "user=inherit vnet", "proc=inherit", "children.max=3"] {
        quiet(lab, &format!("jail -c name=j persist {kind} env.a=1 meta.secret=x exec.start='sleep 1000 >/dev/null 2>&1 &'"));
        prints(lab, READ, "a=1\n1\n");
        // Who has it open reads on.
        quiet(lab, "jexec j sh -c 'exec 3</run/jail/env; until grep -q b=2 /proc/self/fd/3; do sleep 0.01; done; touch /tmp/seen' &
            until jexec j pgrep -f b=2 >/dev/null; do :; done
            jail -m name=j env.b=2; until jexec j test -e /tmp/seen; do :; done");
        prints(lab, READ, "b=2\na=1\n1\n");
        quiet(lab, "jail -m name=j env.b meta.more=y");
        prints(lab, READ, "a=1\n1\n");
        for line in ["echo x >/run/jail/env", "rm /run/jail/env", "mv /run/jail/env /run/jail/x",
            "grep -rs secret /run /tmp /proc/self/environ"] {
            assert!(!run(lab, &format!("jexec j sh -c '{line}'")).status.success(), "{kind}: {line}");
        }
        prints(lab, READ, "a=1\n1\n");
        // It goes with the last line and comes with the first, in a jail with processes.
        quiet(lab, "jail -m name=j env=");
        prints(lab, "jexec j sh -c 'cat /run/jail/env; ! grep /run/jail/env /proc/self/mountinfo'", "");
        quiet(lab, "jail -m name=j env.c=3");
        prints(lab, READ, "c=3\n1\n");
        quiet(lab, "jexec j pkill sleep");
        // And in one without.
        prints(lab, READ, "c=3\n1\n");
        quiet(lab, "jail -m name=j env=; jexec j test ! -e /run/jail/env; jail -m name=j env.d=4");
        prints(lab, READ, "d=4\n1\n");
        quiet(lab, "jid=$(jls -j j jid); jail -m jid=$jid name=k; jail -m name=k env.e=5; jail -m jid=$jid name=j");
        prints(lab, READ, "e=5\nd=4\n1\n");
        quiet(lab, "jail -r j");
        all_gone(lab);
        prints(lab, "ls /run/jail/envs", "");
    }
});

lab_test!(an_env_is_read_in_a_tree_of_the_jails_own for root; needs [CgroupV2, Program("busybox")]; |lab| {
    lab.sh("mkdir -p /tmp/tree; cp /usr/bin/busybox /tmp/tree/");
    for kind in ["", "user=inherit"] {
        quiet(lab, &format!("jail -c name=j path=/tmp/tree persist {kind} env=x"));
        prints(lab, "jexec j /busybox cat /run/jail/env", "x\n");
        quiet(lab, "jail -m name=j env.y=z");
        prints(lab, "jexec j /busybox cat /run/jail/env", "y=z\nx\n");
        assert!(!run(lab, "jexec j /busybox sh -c 'echo x >/run/jail/env'").status.success());
        quiet(lab, "jail -r j");
        // Only the place stays, as that of every mount.
        prints(lab, "cat /tmp/tree/run/jail/env", "");
    }
    lab.sh("rm -r /tmp/tree");
});

lab_test!(a_link_in_a_tree_leads_no_env_astray for root; needs [CgroupV2, Program("busybox")]; |lab| {
    lab.sh("mkdir -p /tmp/tree /tmp/out; cp /usr/bin/busybox /tmp/tree/");
    for (link, to) in [("run", "/proc/1/root/tmp/out"), ("run/jail", "/proc/1/root/tmp/out"), ("run", "/busybox")] {
        lab.sh(&format!("rm -rf /tmp/tree/run; mkdir -p $(dirname /tmp/tree/{link}); ln -s {to} /tmp/tree/{link}"));
        let name = link.rsplit('/').next().unwrap();
        let why = format!("cannot enter \"{name}\": Not a directory\n");
        for kind in ["user=inherit", "proc=inherit", ""] {
            quiet(lab, &format!("jail -c name=j path=/tmp/tree persist {kind} env=x"));
            let refusal = run(lab, "jexec j /busybox true").fails(1);
            assert!(refusal.ends_with(&why), "{kind}: {refusal}");
            // Nothing of a change that cannot be made is left.
            quiet(lab, "jail -m name=j env=; jexec j /busybox sh -c '/busybox sleep 1000 >/dev/null 2>&1 &'");
            let refusal = run(lab, "jail -m name=j env=y").fails(1);
            assert!(refusal.ends_with(&why), "{kind}: {refusal}");
            prints(lab, "jls -j j env; ls /tmp/out /run/jail/envs", "\"\"\n/run/jail/envs:\n\n/tmp/out:\n");
            quiet(lab, "jexec j /busybox true; jail -r j");
        }
    }
    lab.sh("rm -r /tmp/tree");
});

lab_test!(a_jail_in_a_jail_has_strings_of_its_own for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a children.max=1 persist meta=abc env=cba; jail -c name=a.b persist");
    prints(lab, "jls -j a.b meta env", "\"\" \"\"\n");
    quiet(lab, "jexec a.b test ! -e /run/jail/env; jail -m name=a.b env=own");
    prints(lab, "jexec a.b cat /run/jail/env; jexec a cat /run/jail/env", "own\ncba\n");
    quiet(lab, "jail -q -r a");
});

lab_test!(changes_at_once_are_all_kept for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=j persist exec.start='sleep 1000 >/dev/null 2>&1 &'");
    let line = |n: u32| format!("for i in 1 2 3 4 5 6; do jail -m name=j meta.{n}_$i=$i env.{n}=$i || echo failed; done");
    let loops = [0, 1, 2, 3].map(|n| lab.spawn(&line(n)));
    for each in loops {
        assert_eq!(each.finish().ok(), "");
    }
    let there = "jls -j j meta | wc -l; jls -j j env | sort; jexec j sort /run/jail/env";
    let env = "0=6\n1=6\n2=6\n3=6\n";
    prints(lab, there, &format!("24\n{env}{env}"));
    quiet(lab, "jail -r j");
});

lab_test!(strings_are_configured_and_can_be_given_again for root; needs [CgroupV2]; |lab| {
    let text = "path = \"/\"; persist; meta.all = \"x\"; j { meta.owner = \"me & you\"; meta.all = \"${meta.owner}\"; env = \"a=1\\nb='$name'\"; env.c; }";
    std::fs::write("/tmp/jail.conf", text).unwrap();
    prints(lab, "jail -f /tmp/jail.conf -c j", "j: created\n");
    prints(lab, "jls -j j meta env", "owner=me & you\nall=me & you a=1\nb='j'\n");
    // What says how it was made makes the same.
    quiet(lab, "jail -m name=j meta.x='$y `\"'; jls -j j meta env >/tmp/before; jls -s -j j meta env >/tmp/words; jail -r j
        eval \"jail -c name=j persist $(cat /tmp/words)\"; jls -j j meta env >/tmp/after; cmp /tmp/before /tmp/after");
    // A file that no longer says it drops nothing; one that says so does.
    std::fs::write("/tmp/jail.conf", "path = \"/\"; persist; j { meta.owner; }").unwrap();
    prints(lab, "jail -f /tmp/jail.conf -m j; jls -j j meta.owner meta.all", "j: updated\n me & you\n");
    quiet(lab, "jail -r j");
});
