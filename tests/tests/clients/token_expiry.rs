//! A token expires while its connection is open: the client fetches a new one and continues.

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use hotswap_tests::{ChildProcess, Installation};
use serde_json::{Value, json};

use crate::nodejs::script;
use crate::notifications;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_fetches_a_new_token_misses_no_event_when_one_expires() -> Result<()> {
    let installation = Installation::start("qa", 2, &[]).await?;
    let canary = json!({ "steps": [50], "soak": "4s" });
    let id = installation.propose("1.0.0", "canary", canary).await?;
    let mut clients = Vec::new();
    for transport in ["websockets", "sse", "longpolling"] {
        let mut command = script(&installation, "watch.mjs")?;
        command.args([&id, transport, "json"]);
        command.env_remove("HOTSWAP_TOKEN");
        clients.push((transport, Client::start(ChildProcess::start(command)?)));
    }
    for (transport, client) in &mut clients {
        while client.printed.is_empty() {
            client
                .handle_next_line(&installation)
                .await
                .context(*transport)?;
        }
    }
    installation.approve(&id).await?;
    let clients = clients.into_iter().map(|(transport, mut client)| {
        let installation = &installation;
        async move {
            while !client.ended {
                client
                    .handle_next_line(installation)
                    .await
                    .context(transport)?;
            }
            anyhow::Ok((transport, client))
        }
    });
    let clients = try_join_all(clients).await?;
    let expected = notifications::expected_notifications(&installation, &id).await?;
    for (transport, client) in clients {
        let check = || {
            ensure!(client.issued_tokens > 1, "the first token never expired");
            let missed =
                notifications::after_offset(&expected, &client.printed[0]["argument"]["offset"])?;
            notifications::ensure_complete(&notifications::parse_events(&client.printed)?, missed)
        };
        check().context(transport)?;
    }
    Ok(())
}

/// A client that asks the test for a token before each connection.
struct Client {
    process: ChildProcess,
    /// How many tokens the test has given it.
    issued_tokens: usize,
    /// The notifications that it printed.
    printed: Vec<Value>,
    /// Whether it has reported the end of the deployment.
    ended: bool,
}

impl Client {
    fn start(process: ChildProcess) -> Self {
        Self {
            process,
            issued_tokens: 0,
            printed: Vec::new(),
            ended: false,
        }
    }

    async fn handle_next_line(&mut self, installation: &Installation) -> Result<()> {
        let object = self.process.read_json().await?;
        if object.get("token").is_some() {
            let token = installation.sign_token("viewer", "2s").await?;
            self.process.write_line(&token).await?;
            self.issued_tokens += 1;
        } else if object.get("ended").is_some() {
            self.ended = true;
        } else {
            self.printed.push(object);
        }
        Ok(())
    }
}
