//! Real nodes that lag behind, lose their address, or are reached over a bad line.

mod addresses;
mod bad_line;
mod claims;
mod ipv6;
mod redeploys;
mod slow_line;

const PRODUCTION: &str = "production";
