//! A discovery backend for tests. Each watch does what the service's name says; what comes of it
//! is the address of the only instance.

mod raw;

use hotswap_sdk::Span;
use hotswap_sdk::discovery::{
    Backend, Context, Error, Line, Registration, Secret, SecretPlace, Snapshot, instance,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

hotswap_sdk::register_backend!(Probe);

/// Settings of `discovery-probe`.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Whether to reject the configuration.
    reject: bool,
    /// A secret in the configuration itself. Backends of others have such, and so do the next two.
    api_key: String,
    /// Several of them.
    tokens: Vec<String>,
    /// A URL that may hold one.
    url: String,
}

/// The backend. Counts its watches.
pub struct Probe(u32);

impl Backend for Probe {
    type Config = Config;
    const NAME: &'static str = "discovery-probe";
    const SUMMARY: &'static str = "Does what a test says.";
    const CAN_REGISTER: bool = true;
    const SECRETS: &'static [Secret] = &[
        Secret {
            name: "token",
            summary: "A token.",
            place: SecretPlace::Header {
                name: "authorization",
                prefix: "Bearer ",
            },
        },
        Secret {
            name: "password",
            summary: "A password.",
            place: SecretPlace::Body { path: "/login" },
        },
    ];

    fn new(config: Config) -> Result<Self, Error> {
        match config.reject {
            true => Err(Error::InvalidConfig("reject is set".to_owned())),
            false => Ok(Self(0)),
        }
    }

    fn watch(
        &mut self,
        context: &Context,
        service: &str,
        _: Option<&str>,
        patience: Span,
    ) -> Result<Snapshot, Error> {
        self.0 += 1;
        let (act, argument) = service.split_once(' ').unwrap_or((service, ""));
        let address = match act {
            "count" => self.0.to_string(),
            "panic" => panic!("asked for {argument:?}"),
            "spin" => loop {
                std::hint::black_box(self.0);
            },
            "allocate" => {
                let mut all = Vec::new();
                loop {
                    all.push(vec![1_u8; 1 << 20]);
                    std::hint::black_box(&all);
                }
            }
            "sleep" => {
                context.sleep(Span::hours(1));
                String::new()
            }
            "log" => {
                for line in 0..1000 {
                    context.warn(format!("line {line}"));
                }
                String::new()
            }
            // So many requests, and as many names.
            "refused" => {
                let count: u32 = argument.parse().map_err(|_| Error::NotFound)?;
                for _ in 0..count {
                    let _ = context.get("http://other.invalid/").send();
                    let _ = context.addresses("other.invalid");
                }
                String::new()
            }
            "resolve" => context.addresses(argument)?.join(" "),
            "srv" => {
                let records = context.srv(argument)?.into_iter().map(|record| {
                    let addresses = record.addresses.join(",");
                    format!("{}:{}/{addresses}", record.target, record.port)
                });
                records.collect::<Vec<_>>().join(" ")
            }
            "get" => text(
                context
                    .get(argument)
                    .patience(patience)
                    .send()?
                    .ok()?
                    .bytes()?,
            ),
            "raw" => raw::send(argument),
            // Says how many watches there were before it, and does what it is told.
            "obey" => obey(context, &format!("{argument}?watches={}", self.0))?,
            "set-header" => {
                let request = context.get(argument).header("authorization", "Bearer mine");
                text(request.send()?.ok()?.bytes()?)
            }
            "post" => {
                let request = context.post(argument).json(&"${secret.password}");
                text(request.send()?.ok()?.bytes()?)
            }
            "follow" => {
                let answer = context.get(argument).send()?;
                let to = answer.header("location").unwrap_or_default().to_owned();
                text(context.get(&to).send()?.bytes()?)
            }
            "lines" => {
                let mut lines = context.get(argument).send()?.ok()?.lines();
                let mut all = Vec::new();
                loop {
                    match lines.next(patience)? {
                        Line::Text(line) => all.push(line),
                        Line::End => break,
                        Line::TimedOut => {
                            all.push("timed out".to_owned());
                            break;
                        }
                    }
                }
                all.join(" ")
            }
            "hold" => {
                let held: Vec<_> = (0..100).map(|_| context.get(argument).send()).collect();
                let held = held.into_iter().filter(Result::is_ok).count();
                held.to_string()
            }
            other => return Err(Error::Other(format!("cannot {other}"))),
        };
        Ok(Snapshot {
            instances: vec![instance(address)],
            cursor: self.0.to_string(),
        })
    }

    fn register(&mut self, context: &Context, registration: &Registration) -> Result<(), Error> {
        if let Some(url) = registration.service.strip_prefix("obey ") {
            return obey(context, url).map(drop);
        }
        match registration.id.as_str() {
            "denied" => Err(Error::Denied("not you".to_owned())),
            _ => Ok(()),
        }
    }
}

/// Does what a server tells, and returns it.
fn obey(context: &Context, url: &str) -> Result<String, Error> {
    match text(context.get(url).send()?.ok()?.bytes()?) {
        order if order == "crash" => panic!("told to crash"),
        order => Ok(order),
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}
