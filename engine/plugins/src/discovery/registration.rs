use super::bindings::hotswap::discovery::types::{Port, Registration};

/// An instance of a service, with an address and ports by their names. It is alive for as long as it
/// is registered, and has nothing else.
pub fn registration(service: &str, id: &str, address: &str, ports: &[(&str, u16)]) -> Registration {
    let port = |&(name, number): &(&str, u16)| Port {
        name: name.to_owned(),
        number,
    };
    Registration {
        id: id.to_owned(),
        service: service.to_owned(),
        address: address.to_owned(),
        ports: ports.iter().map(port).collect(),
        version: None,
        zone: None,
        metadata: Vec::new(),
        check: None,
        deregister_after: None,
    }
}
