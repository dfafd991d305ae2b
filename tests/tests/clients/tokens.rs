//! Tokens that expire under a connection: the client fetches a fresh one, and goes on.

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use hotswap_tests::{Installation, Program};
use serde_json::{Value, json};

use crate::node::script;
use crate::told;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_fetches_a_fresh_token_misses_nothing_when_one_expires() -> Result<()> {
    let here = Installation::start("qa", 2, &[]).await?;
    let canary = json!({ "steps": [50], "soak": "4s" });
    let id = here.propose("1.0.0", "canary", canary).await?;
    let mut clients = Vec::new();
    for transport in ["websockets", "sse", "longpolling"] {
        let mut command = script(&here, "watch.mjs")?;
        command.args([&id, transport, "json"]);
        command.env_remove("HOTSWAP_TOKEN");
        clients.push((transport, Watch::start(Program::start(command)?)));
    }
    for (transport, client) in &mut clients {
        while client.told.is_empty() {
            client.go_on(&here).await.context(*transport)?;
        }
    }
    here.approve(&id).await?;
    let done = clients.into_iter().map(|(transport, mut client)| {
        let here = &here;
        async move {
            while !client.ended {
                client.go_on(here).await.context(transport)?;
            }
            anyhow::Ok((transport, client))
        }
    });
    let done = try_join_all(done).await?;
    let all = told::all(&here, &id).await?;
    for (transport, client) in done {
        let check = || {
            ensure!(client.tokens > 1, "the first token did for all of it");
            let rest = told::after(&all, &client.told[0]["argument"]["offset"])?;
            told::ensure_whole(&told::events(&client.told)?, rest)
        };
        check().context(transport)?;
    }
    Ok(())
}

/// A client that asks for a token whenever it needs one.
struct Watch {
    program: Program,
    /// How many it was given.
    tokens: usize,
    told: Vec<Value>,
    ended: bool,
}

impl Watch {
    fn start(program: Program) -> Self {
        Self {
            program,
            tokens: 0,
            told: Vec::new(),
            ended: false,
        }
    }

    async fn go_on(&mut self, here: &Installation) -> Result<()> {
        let object = self.program.object().await?;
        if object.get("token").is_some() {
            let token = here.sign("viewer", "2s").await?;
            self.program.tell(&token).await?;
            self.tokens += 1;
        } else if object.get("ended").is_some() {
            self.ended = true;
        } else {
            self.told.push(object);
        }
        Ok(())
    }
}
