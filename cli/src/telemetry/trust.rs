use std::sync::Arc;

use anyhow::Result;
use hotswap_common::tls::{ClientFiles, ClientTls, Reload};

use super::settings::Collector;

/// Whom connections to collectors trust, and who they say they are.
pub(super) struct Trust<'a> {
    /// What the program trusts.
    files: &'a ClientFiles,
    opened: Vec<(ClientFiles, ClientTls)>,
}

impl<'a> Trust<'a> {
    /// Nothing is read yet.
    pub(super) fn new(files: &'a ClientFiles) -> Self {
        let opened = Vec::new();
        Self { files, opened }
    }

    /// TLS for connections to a collector. Reads no file where it is reached without TLS.
    ///
    /// # Errors
    /// Where a file cannot be used.
    pub(super) fn tls_to(&mut self, collector: &Collector) -> Result<ClientTls> {
        if !collector.has_tls() {
            return Ok(ClientTls::default());
        }
        let authorities = collector.authorities.as_ref();
        let files = ClientFiles {
            authorities: authorities.or(self.files.authorities.as_ref()).cloned(),
            client: collector
                .client
                .as_ref()
                .or(self.files.client.as_ref())
                .cloned(),
            // The name of nodes is not that of the collector.
            server_name: None,
            ..self.files.clone()
        };
        let known = self.opened.iter().find(|(known, _)| *known == files);
        if let Some((_, tls)) = known {
            return Ok(tls.clone());
        }
        let tls = ClientTls::open(files.clone())?;
        self.opened.push((files, tls.clone()));
        Ok(tls)
    }

    /// What stands on files that may change.
    pub(super) fn reloadable(self) -> Vec<Arc<dyn Reload>> {
        let opened = self.opened.into_iter();
        opened
            .map(|(_, tls)| Arc::new(tls) as Arc<dyn Reload>)
            .collect()
    }
}
