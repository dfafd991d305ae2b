//! Finds and registers instances in HashiCorp Consul, through an agent.

mod api;
#[cfg(test)]
mod tests;

use hotswap_sdk::Span;
use hotswap_sdk::discovery::{
    Backend, BlockingQuery, Context, Endpoints, Error, Health, Method, Path, Registration, Secret,
    SecretPlace, Snapshot, encode,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use api::{ServiceEntry, agent_registration, healthiest, says_unknown_check};

hotswap_sdk::register_backend!(Consul);

/// Settings of `consul`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The URLs of agents. The first that answers is used, until it no longer does.
    agents: Vec<String>,
    /// The datacenter to look in. That of the agent, if this is empty.
    datacenter: String,
    /// A filter expression of Consul, such as `Service.Meta.zone == "eu"`. All instances, if this
    /// is empty.
    filter: String,
    /// Tags of the instances that are registered.
    tags: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            agents: vec!["http://127.0.0.1:8500".to_owned()],
            datacenter: String::new(),
            filter: String::new(),
            tags: vec!["hotswap".to_owned()],
        }
    }
}

/// The backend.
pub struct Consul {
    agents: Endpoints,
    config: Config,
    /// Whether it was said that the token may not read all.
    has_warned: bool,
}

impl Backend for Consul {
    type Config = Config;
    const NAME: &'static str = "consul";
    const SUMMARY: &'static str = "Finds and registers instances in HashiCorp Consul.";
    const CAN_REGISTER: bool = true;
    const SECRETS: &'static [Secret] = &[Secret {
        name: "token",
        summary: "An ACL token of Consul.",
        place: SecretPlace::Header {
            name: "x-consul-token",
            prefix: "",
        },
    }];

    fn new(config: Config) -> Result<Self, Error> {
        Ok(Self {
            agents: Endpoints::new("agents", config.agents.clone())?,
            config,
            has_warned: false,
        })
    }

    fn watch(
        &mut self,
        context: &Context,
        service: &str,
        cursor: Option<&str>,
        patience: Span,
    ) -> Result<Snapshot, Error> {
        let query = BlockingQuery::new(cursor, patience);
        let path = Path::new("/v1/health/service")
            .segment(service)
            .query_if_set("dc", &self.config.datacenter)
            .query_if_set("filter", &self.config.filter);
        let path = query.add_to(path).to_string();
        let agents = &mut self.agents;
        let answer = agents.ask(context, Method::Get, &path, |request| {
            request.patience(query.patience())
        })?;
        let answer = answer.ok()?;
        let cursor = query.next_cursor(answer.header("x-consul-index"));
        let is_filtered = answer.header("x-consul-results-filtered-by-acls") == Some("true");
        let entries: Vec<ServiceEntry> = answer.json()?;
        if is_filtered {
            self.check_filtered(context, &entries)?;
        }
        let instances = entries.into_iter().map(ServiceEntry::instance);
        Ok(Snapshot {
            instances: healthiest(instances.collect()),
            cursor,
        })
    }

    fn register(&mut self, context: &Context, registration: &Registration) -> Result<(), Error> {
        let body = agent_registration(registration, &self.config.tags);
        let path = "/v1/agent/service/register?replace-existing-checks=true";
        let agents = &mut self.agents;
        let answer = agents.ask(context, Method::Put, path, |request| request.json(&body))?;
        answer.ok().map(drop)
    }

    fn heartbeat(
        &mut self,
        context: &Context,
        _service: &str,
        id: &str,
        health: Health,
    ) -> Result<(), Error> {
        let update = match health {
            Health::Passing => "pass",
            Health::Warning | Health::Unknown => "warn",
            Health::Critical => "fail",
        };
        let path = format!("/v1/agent/check/{update}/service:{}", encode(id));
        let answer = self
            .agents
            .ask(context, Method::Put, &path, |request| request)?;
        let status = answer.status();
        let mut is_unknown = status == 404;
        let answer = answer.ok_or(|body| {
            is_unknown |= status == 500 && says_unknown_check(body);
            None
        });
        match is_unknown {
            true => Err(Error::NotFound),
            false => answer.map(drop),
        }
    }

    fn deregister(&mut self, context: &Context, _service: &str, id: &str) -> Result<(), Error> {
        let path = format!("/v1/agent/service/deregister/{}", encode(id));
        let answer = self
            .agents
            .ask(context, Method::Put, &path, |request| request)?;
        match answer.ok() {
            Err(Error::NotFound) => Ok(()),
            other => other.map(drop),
        }
    }
}

impl Consul {
    /// Consul answers as if what the token may not read were not there.
    fn check_filtered(&mut self, context: &Context, left: &[ServiceEntry]) -> Result<(), Error> {
        let text = "Consul leaves out instances that the token may not read: it needs \
                    `service:read` for the service, and `node:read` for the machines";
        if left.is_empty() {
            return Err(Error::Denied(text.to_owned()));
        }
        if !self.has_warned {
            context.warn(text);
            self.has_warned = true;
        }
        Ok(())
    }
}
