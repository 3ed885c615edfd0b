//! Programs as data, and whether the kernel's verifier takes them.

use kernel::bpf::{Program, prog_load};
use rustix::io::Errno;

use super::*;
use crate::Instruction;

/// So many addresses that have no word but the first of a few in common, none of them with a common network.
fn v4(count: u8, select: bool) -> Family<Ipv4Addr> {
    let all = (1..=count).map(|n| (Ipv4Addr::new(10 + n % 3, n, 1, n), 30)).collect();
    Addresses::new(all, select).map_or(Family::Disable, Family::New)
}

fn v6(count: u8, select: bool) -> Family<Ipv6Addr> {
    let all =
        (1..=u16::from(count)).map(|n| (Ipv6Addr::new(0xfd00 + n % 7, n, n, n, 1, n, 2, n), 113)).collect();
    Addresses::new(all, select).map_or(Family::Disable, Family::New)
}

/// All kinds of restrictions: 0 stands for a family that the jail does not have.
fn all() -> Vec<Confined> {
    let mut all = Vec::new();
    for reserved_ports in [None, Some(u32::MAX - 9)] {
        for select in [false, true] {
            for four in [None, Some(0), Some(1), Some(2), Some(255)] {
                for six in [None, Some(0), Some(1), Some(2), Some(255)] {
                    all.push(Confined {
                        v4: four.map_or(Family::Inherit, |count| v4(count, select)),
                        v6: six.map_or(Family::Inherit, |count| v6(count, select)),
                        reserved_ports,
                        same_users: select,
                    });
                }
            }
        }
    }
    all
}

fn points(confined: &Confined) -> Vec<Point> {
    confined.programs().into_iter().map(|hook| hook.point).collect()
}

#[test]
fn programs_are_where_something_is_restricted() {
    use Point::{Bind4, Bind6, Connect4, Connect6, Create, Egress, Ingress, Name4, Name6, Send4, Send6};
    let free = Confined::default();
    assert_eq!(points(&free), []);
    assert_eq!(points(&Confined { reserved_ports: Some(0), ..free.clone() }), [Bind4, Bind6]);
    let one = Confined { v4: v4(1, false), ..free.clone() };
    assert_eq!(points(&one), [Bind4, Bind6, Connect4, Connect6, Send4, Name4, Name6, Ingress, Egress]);
    let none = Confined { v4: Family::Disable, ..free.clone() };
    assert_eq!(points(&none), [Create, Bind4, Bind6, Connect4, Connect6, Send4, Ingress, Egress]);
    let six = Confined { v6: v6(2, false), ..free };
    assert_eq!(points(&six), [Bind6, Connect6, Send6, Ingress, Egress]);
    assert_eq!(points(&Confined { v6: Family::Disable, ..one }).len(), Point::ALL.len());
}

#[test]
fn all_labels_are_placed_and_near_enough() {
    for confined in all() {
        for refusal in [Refusal::Errno, Refusal::Plain] {
            for hook in confined.programs_with(refusal) {
                assert!(hook.code.len() < 1 << 14, "{:?}: {}", hook.point, hook.code.len());
                assert_eq!(hook.code.last().unwrap()[0], 0x95, "{:?} does not end", hook.point);
                let says = hook.code.contains(&Instruction::call(187).bytes());
                assert!(!says || refusal == Refusal::Errno, "{:?}", hook.point);
            }
        }
    }
}

#[test]
#[cfg(target_endian = "little")]
fn the_smallest_is_as_it_is_written_down() {
    let confined = Confined { v6: Family::Disable, ..Confined::default() };
    let create = &confined.programs()[0];
    let wanted = [
        [0xbf, 0x16, 0, 0, 0, 0, 0, 0],             // r6 = r1
        [0x61, 0x65, 4, 0, 0, 0, 0, 0],             // r5 = context->family
        [0x16, 0x05, 2, 0, 10, 0, 0, 0],            // if r5 == AF_INET6 goto refuse
        [0xb7, 0x00, 0, 0, 1, 0, 0, 0],             // r0 = 1
        [0x95, 0x00, 0, 0, 0, 0, 0, 0],             // exit
        [0xb7, 0x01, 0, 0, 0x9f, 0xff, 0xff, 0xff], // refuse: r1 = -EAFNOSUPPORT
        [0x85, 0x00, 0, 0, 187, 0, 0, 0],           // bpf_set_retval(r1)
        [0xb7, 0x00, 0, 0, 0, 0, 0, 0],             // r0 = 0
        [0x95, 0x00, 0, 0, 0, 0, 0, 0],             // exit
    ];
    assert_eq!((create.point, &create.code[..]), (Point::Create, &wanted[..]));
}

#[test]
fn an_address_costs_what_its_words_cost() {
    let length = |v4, v6, point| {
        let programs = Confined { v4, v6, reserved_ports: None, same_users: false }.programs();
        programs.into_iter().find(|hook| hook.point == point).unwrap().code.len()
    };
    let four = |count| length(v4(count, false), Family::Inherit, Point::Bind4);
    assert_eq!(four(255) - four(2), 253);
    let chosen = |count| length(v4(count, true), Family::Inherit, Point::Connect4);
    // Copy, compare, mask, jump; two to store the address, and a jump.
    assert_eq!(chosen(255) - chosen(2), 253 * 7);
    // What is alike is compared once.
    let near = |count: u16| {
        let all = (1..=count).map(|n| (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n), 64)).collect();
        length(Family::Inherit, Family::New(Addresses::new(all, true).unwrap()), Point::Connect6)
    };
    assert_eq!(near(255), near(1));
}

#[test]
fn the_verifier_takes_them_all() {
    for confined in all() {
        let refusal = if confined.reserved_ports.is_some() { Refusal::Plain } else { Refusal::Errno };
        for hook in confined.programs_with(refusal) {
            let program = Program {
                kind: hook.point.program_type(),
                attach: hook.point.attach_type(),
                attach_btf_id: 0,
                name: hook.point.name(),
                license: c"Dual BSD/GPL",
                code: &hook.code,
            };
            match prog_load(&program, &mut []) {
                Ok(_) => {}
                Err(errno @ (Errno::PERM | Errno::NOSYS)) => return println!("SKIP the_verifier: {errno}"),
                Err(errno) => {
                    let mut log = vec![0; 1 << 20];
                    drop(prog_load(&program, &mut log));
                    let log = String::from_utf8_lossy(&log).trim_end_matches('\0').to_owned();
                    let tail = &log[log.len().saturating_sub(3000)..];
                    panic!(
                        "{:?} {errno}: {tail}\n{} instructions\n{confined:?}",
                        hook.point,
                        hook.code.len()
                    );
                }
            }
        }
    }
}
