//! A web server in a jail, as its users reach it.

use vimage_tests::lab_test;

lab_test!(nginx_serves_the_host_and_other_jails for root;
    needs [Debian, CgroupV2, Program("curl")]; with timeout(120); |lab| {
    let tree = lab.debian();
    lab.sh(&format!(
        r#"jail -c name=web path={tree} vnet vnet.link="eth0 lan 10.9.0.11/24 fd00:9::11/64" \
            vnet.host="lan 10.9.0.1/24" mount="none /run tmpfs" mount="none /var/www/html tmpfs" persist"#
    ));
    lab.sh(&format!(
        r#"jail -c name=client path={tree} vnet vnet.link="eth0 lan 10.9.0.12/24 fd00:9::12/64" \
            mount="none /run tmpfs" persist"#
    ));
    lab.sh("echo 'the page of web' | jexec web tee /var/www/html/index.html; jexec web nginx");
    assert_eq!(lab.sh("curl -sS --fail http://10.9.0.11/"), "the page of web\n");
    assert_eq!(lab.sh("jexec client curl -sS --fail 'http://[fd00:9::11]/'"), "the page of web\n");
    assert_eq!(lab.sh("jexec client curl -sS --fail http://10.9.0.11/"), "the page of web\n");
    // Its own processes are all that it sees, and who asked is written down with the address they have on the segment.
    let log = lab.sh("jexec web cut -d' ' -f1 /var/log/nginx/access.log");
    assert_eq!(log, "10.9.0.1\nfd00:9::12\n10.9.0.12\n");

    // The port is the jail's: the host's and another jail's of the same number are free.
    lab.sh("jexec client nginx");
    assert!(lab.sh("curl -sS --fail http://10.9.0.12/").contains("Welcome to nginx"));
    assert!(lab.cmd("curl").arg_line("-sS --max-time 3 http://10.9.0.1/").run().fails(7).contains("10.9.0.1"));
    lab.sh("jail -r web client");
});

lab_test!(a_web_server_is_changed_and_removed_as_it_serves for root;
    needs [Debian, CgroupV2, Program("curl")]; with timeout(120); |lab| {
    let tree = lab.debian();
    let create = format!(
        r#"jail -c name=web path={tree} vnet vnet.link="eth0 lan 10.9.0.11/24" vnet.host="lan 10.9.0.1/24" \
            exec.start="nginx" persist"#
    );
    lab.sh(&create);
    lab.sh("jexec web truncate --size=1G /var/www/html/large");
    let download = lab.spawn("exec curl -sS --fail --limit-rate 10M -o /dev/null http://10.9.0.11/large");
    lab.until("it is served", || lab.sh("jexec web ss -Htn state established").contains("10.9.0.1:"));
    lab.sh(r#"jail -m name=web vnet.link="eth0 lan 10.9.0.11/24 10.9.0.13/24""#);
    assert!(lab.sh("curl -sS --fail http://10.9.0.13/").contains("nginx"));
    assert!(lab.sh("jexec web ss -Htn state established").contains("10.9.0.1:"), "the change cut the download");

    lab.sh("jail -r web");
    drop(download);
    lab.sh(&create);
    assert!(lab.sh("curl -sS --fail http://10.9.0.11/").contains("nginx"));
    lab.sh("jail -r web");
});
