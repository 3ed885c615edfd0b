//! A thousand jails, removed together.

use std::{fs, time::Duration};

use vimage_tests::{Lab, lab_test};

use crate::shell::{all_gone, jid, names, quiet, run};

/// Makes so many jails, of the cheapest kind; two at a time, as there may be two processors.
fn make(lab: &Lab, count: usize) {
    let half = |first| {
        format!(
            "for n in $(seq {first} 2 {count}); do jail -c name=j$n user=inherit host=inherit persist; done"
        )
    };
    lab.cmd("sh")
        .args(["-euc", &format!("({}) & {}; wait $!", half(1), half(2))])
        .timeout(Duration::from_secs(60))
        .run()
        .ok();
    assert_eq!(names(lab).len(), count);
}

/// Makes so many, and tells how many system calls with paths it takes to remove them by a line.
fn calls(lab: &Lab, count: usize, line: &str) -> u64 {
    make(lab, count);
    let removed = lab.sh(&format!("strace -f --seccomp-bpf -c -e trace=%file -o /tmp/calls {line} 2>&1"));
    assert_eq!(removed.lines().filter(|line| line.ends_with(": removed")).count(), count, "{removed}");
    assert!(names(lab).is_empty());
    let table = fs::read_to_string("/tmp/calls").unwrap();
    // `100.00    0.123456           9     12569        12 total`
    let total = table.lines().find(|line| line.ends_with(" total")).unwrap_or_else(|| panic!("{table}"));
    total.split_whitespace().nth(3).and_then(|calls| calls.parse().ok()).unwrap_or_else(|| panic!("{table}"))
}

lab_test!(a_thousand_are_removed_together_and_each_costs_what_one_of_a_hundred_does for root; needs [CgroupV2, Program("strace")]; with timeout(120); |lab| {
    let hundred = calls(lab, 100, "jail -r '*'");
    all_gone(lab);
    let thousand = calls(lab, 1000, "jail -r $(seq -f j%.0f 1000)");
    assert!(thousand < 12 * hundred, "{hundred} calls for a hundred, {thousand} for a thousand");
    all_gone(lab);
});

lab_test!(one_that_will_not_go_keeps_none_of_the_others_and_goes_when_it_can for root; needs [CgroupV2]; |lab| {
    for name in ["a", "b", "c"] {
        quiet(lab, &format!("jail -c name={name} persist vnet exec.start='sleep 1000 & exit 0'"));
    }
    // What the store keeps for it is no file any more.
    let file = format!("/run/jail/files/{}.etc.machine-id", jid(lab, "b"));
    lab.sh(&format!("rm {file}; mkdir {file}"));
    let said = run(lab, "jail -r a b c");
    assert_eq!((said.status.code(), said.stdout.as_str()), (Some(1), "a: removed\nb: removed\nc: removed\n"));
    let why = format!("jail: b: cannot undo root/file/{file}: cannot remove {file}: Is a directory");
    assert!(said.stderr.contains(&why) && said.stderr.lines().count() == 1, "{said}");
    assert!(!run(lab, "pgrep -x sleep").status.success());
    lab.until("the others are gone", || {
        lab.sweep();
        lab.sh("jls -d name dying") == "b true\n"
    });
    // It is tried again by each command, and in nobody's way.
    quiet(lab, &format!("jail -c name=b persist; jail -r b; rmdir {file}"));
    all_gone(lab);
});
