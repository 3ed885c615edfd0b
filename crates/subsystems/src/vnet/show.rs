//! What is going on in a jail's stack, live from the kernel.

use netlink::{Af, Diag, Route, diag};
use serde_json::json;
use vimage::{Instance, Node, Result};

use super::{mac, member, stack};

/// A jail's links, addresses, routes and sockets; of one without a stack of its own only that it has none.
///
/// # Errors
/// The stack cannot be entered, or the kernel not be asked.
pub fn show(of: &Instance<'_>) -> Result<Node> {
    let mut node = Node::map();
    let Some(jail) = of.fd("net")? else {
        node.put("stack", Node::leaf(if of.settings.is_new("vnet") { "gone" } else { "the parent's" }));
        return Ok(node);
    };
    let mut socket = stack::socket::<Route>(&*jail)?;
    let links = socket.links().map_err(stack::refused)?;
    let name = |index| links.iter().find(|l| l.index == index).map_or("?", |l| l.name.as_str());
    let mut table = Node::table(&["name", "mac", "mtu", "up", "carrier", "kind"]);
    for link in &links {
        let mac = link.mac.map(mac::text);
        table.row(vec![
            json!(link.name),
            json!(mac),
            json!(link.mtu),
            json!(link.up),
            json!(link.running),
            json!(link.kind),
        ]);
    }
    node.put("links", table);
    let mut table = Node::table(&["link", "address"]);
    for address in socket.addresses().map_err(stack::refused)? {
        table.row(vec![json!(name(address.index)), json!(format!("{}/{}", address.ip, address.prefix_len))]);
    }
    node.put("addresses", table);
    let mut table = Node::table(&["destination", "gateway", "link"]);
    for route in socket.routes().map_err(stack::refused)? {
        let dest = route.dest.map_or_else(|| "default".to_owned(), |(ip, len)| format!("{ip}/{len}"));
        table.row(vec![json!(dest), json!(route.gateway), json!(route.oif.map(name))]);
    }
    node.put("routes", table);
    drop(socket);
    let members = member::all(of)?;
    if !members.is_empty() {
        let mut table = Node::table(&["segment", "member", "mac", "mtu", "carrier"]);
        for (segment, name, link) in members {
            let mac = link.as_ref().and_then(|link| link.mac).map(mac::text);
            let (mtu, running) = (link.as_ref().map(|link| link.mtu), link.as_ref().map(|link| link.running));
            table.row(vec![json!(segment), json!(name), json!(mac), json!(mtu), json!(running)]);
        }
        node.put("members", table);
    }
    let mut socket = stack::socket::<Diag>(&*jail)?;
    let mut counts = Node::map();
    for (word, protocol) in [("tcp", diag::TCP), ("udp", diag::UDP), ("raw", diag::RAW)] {
        let mut count = 0;
        for family in Af::ALL {
            count += diag::sockets(&mut socket, protocol, family).map_err(stack::refused)?.len();
        }
        counts.put(word, Node::leaf(count));
    }
    node.put("sockets", counts);
    Ok(node)
}
