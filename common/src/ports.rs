//! Ports for servers that cannot choose a free one themselves.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// Ports of this machine's loopback address that are free now. Another process may take one before
/// the server does; it then does not start.
///
/// # Errors
/// If no port is free.
pub fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let listen = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    // All are held until each is known, so that they differ.
    let listeners: Vec<_> = (0..count).map(listen).collect::<io::Result<_>>()?;
    let port = |listener: &TcpListener| Ok(listener.local_addr()?.port());
    listeners.iter().map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ_and_can_be_taken() {
        let ports = free_ports(8).unwrap();
        let listen = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).unwrap();
        let listeners: Vec<_> = ports.iter().map(listen).collect();
        assert_eq!(listeners.len(), 8);
    }
}
