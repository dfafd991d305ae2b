//! Discovery backends in their host: what they may reach, what they may use, what they see.

mod authority;
mod contract;
mod dns;
mod dns_server;
mod fixture;
mod instances;
mod loading;
mod requests;
mod secrets;
mod server;
mod tls;
