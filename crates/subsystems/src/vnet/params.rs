//! The parameters.

use vimage::{Kind, Mode, Param, When};

/// All of them.
pub static PARAMS: [Param; 7] = [
    Param {
        name: "vnet",
        kind: Kind::Mode(&[Mode::New, Mode::Inherit]),
        when: When::Create,
        default: Some("inherit"),
        help: "a network stack of the jail's own (new) or its parent's (inherit)",
        doc: "With new the jail has interfaces, addresses, routes, ports and network sysctls of its own, and \
              its root rules over them. With inherit it has its parent's.",
        ..Param::BASE
    },
    Param {
        name: "vnet.link",
        kind: Kind::List { commas: false },
        help: "an Ethernet interface: NAME SEGMENT|JAIL:NAME [ADDR/LEN ...] [KEY VALUE ...]",
        doc: "A virtual Ethernet interface NAME of the jail, connected to SEGMENT. If the parent has a bridge \
              of that name when the segment is first used, it is that bridge, which is used and never removed. Otherwise the segment is made \
              when the first jail asks for it and goes with the last. JAIL:NAME instead of SEGMENT is a cable \
              straight to the interface NAME of JAIL, a jail beside this one. Either jail may declare it, or \
              both; an end that is not declared appears up and without address. As long as the other jail \
              does not exist, an end stays as it is, without carrier. Only if the other jail ends by itself, \
              with its last process, do both ends vanish; with the other jail this one comes back, with its \
              declared addresses and routes. Keys: mac, the interface's ethernet \
              address, by default one that is always the same for this jail and NAME; mtu, in bytes; \
              autoconf, on or off, whether IPv6 configures the interface itself and listens to routers, by default \
              off. An interface with an IPv6 address has a link-local one, too, made of its ethernet address, \
              unless one is given.",
        ..Param::BASE
    },
    Param {
        name: "vnet.host",
        kind: Kind::List { commas: false },
        help: "the parent's own interface on a segment: SEGMENT ADDR/LEN ...",
        doc: "The parent gets an interface named SEGMENT with these addresses, as long as any jail asks for \
              it. The first jail's addresses hold; others ask for the same ones, or for some of them. With an IPv6 \
              address it has a link-local one, too, as a jail's interface has.",
        ..Param::BASE
    },
    Param {
        name: "vnet.member",
        kind: Kind::List { commas: false },
        help: "interfaces of the parent's that are on a segment: SEGMENT INTERFACE ...",
        doc: "Each INTERFACE, a tap of a virtual machine, say, an ethernet card, or one end of a veth(4) pair, is a port of \
              SEGMENT, as long as any jail asks for it. It is used and never removed. For a segment of ours it \
              leaves the parent's stack, and comes home to where it was with the last jail that asks for it: with \
              its name, ethernet address, MTU, and up if it was; the addresses it had before are lost. A program that has a \
              tap open goes on with it meanwhile. If SEGMENT is a bridge of the parent's, the interface stays where it \
              is and is a port of that bridge for as long; one that is a port of it already is left alone. One that is \
              a port of another bridge is refused, and so is what the kernel does not let out of its network stack, \
              as a bridge or a wireless card. A tap whose program ends is gone, which does no harm; when one of that name is there anew, \
              the next jail that asks for it, or a change of the jail's network, makes it a port again. While it is a port its alias is ours: by it jdb(8) repair finds the \
              way home of one whose record is lost.",
        ..Param::BASE
    },
    Param {
        name: "vnet.route",
        kind: Kind::List { commas: false },
        help: "a route: DEST via GATEWAY, or DEST dev NAME",
        doc: "A route of the jail's. DEST is a network, or default. Both via and dev can be given, as a \
              link-local gateway needs.",
        ..Param::BASE
    },
    Param {
        name: "vnet.sysctl",
        kind: Kind::List { commas: false },
        help: "a value of the stack: net.NAME=VALUE",
        doc: "Written when the jail is made. One that is taken away from a living jail keeps its value.",
        ..Param::BASE
    },
    Param {
        name: "vnet.interface",
        kind: Kind::List { commas: true },
        help: "existing interfaces to be moved into the jail",
        doc: "The interfaces arrive down and without addresses. When the jail is removed they return to \
              where they were, with their ethernet address and MTU, and up if they were; the addresses they \
              had before are lost. One whose name was taken meanwhile returns as NAME.1; that is said, and its \
              alias tells what it was. While the jail has it, its alias is ours: by it jdb(8) repair finds the \
              way home of one whose record is lost.",
        ..Param::BASE
    },
];
