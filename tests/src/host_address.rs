use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use anyhow::{Context as _, Result, ensure};

/// An address for documentation, which nobody has. Nothing is sent there.
const ELSEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(198, 51, 100, 1), 9);

/// An address of this machine that is not its loopback address. Kubernetes accepts no others for
/// endpoints.
///
/// # Errors
/// If the machine has none.
pub fn host_address() -> Result<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let connected = socket.connect(ELSEWHERE);
    connected.context("the machine has no route to anywhere, so no address but loopback")?;
    let ip = socket.local_addr()?.ip();
    let is_usable = !ip.is_loopback() && !ip.is_unspecified();
    ensure!(is_usable, "{ip} is no address that a pod could have");
    Ok(ip)
}
