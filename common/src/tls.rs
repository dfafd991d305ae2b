//! TLS of servers and clients, by rustls. Certificates and keys come from files in PEM form, which
//! are read again when they change: [`ServerTls`], [`ClientTls`] and [`follow`]. [`explain`] says
//! what a failure means and what to do about it.

mod certificates_by_name;
mod client;
mod error;
mod failure;
mod files;
mod reload;
mod server;
mod stream;

pub use client::{ClientFiles, ClientTls};
pub use error::Error;
pub use failure::{SettingNames, explain};
pub use files::CertificateFiles;
pub use reload::{Reload, follow};
pub use server::{ServerFiles, ServerTls, accept};
pub use stream::{ClientCertificate, Stream};

#[cfg(test)]
mod tests;
