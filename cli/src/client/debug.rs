//! What goes into a report of a fault, as the engine writes it.

use reqwest::Method;
use serde_json::Value;

use super::{Client, Error, REQUEST_TIMEOUT};

impl Client {
    /// The engine's report on itself.
    pub async fn debug_report(&self) -> Result<Value, Error> {
        self.get("/debug", &()).await
    }

    /// The body of any resource, by its path on the server.
    pub async fn raw(&self, path: &str) -> Result<Vec<u8>, Error> {
        let url = format!("{}{path}", self.server());
        let request = self.http.request(Method::GET, url).timeout(REQUEST_TIMEOUT);
        let (_, body) = self.fetch_body(request).await?;
        Ok(body)
    }
}
