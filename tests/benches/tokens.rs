//! What the check of a signed token costs a request, for each algorithm, compared with a request
//! that shows the API token. Servers in this process, on one engine, in turns: each round compares
//! with its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use hotswap_api::{Algorithm, Config, JwtVerifier, Secret, Server, Tokens};
use hotswap_core::{Clock as _, SystemClock};
use hotswap_runner::Engine;
use hotswap_tests::EngineResources;
use hotswap_tests::bench::{
    check_goals, median, median_ratio, micros_per_request, print_header, print_row,
};
use jsonwebtoken::{EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
use serde_json::json;

const API_TOKEN: &str = "api-token-of-the-bench";
const NODE_TOKEN: &str = "node-token-of-the-bench";
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "hotswap";

const ROUNDS: usize = 21;
/// In one turn of a round.
const REQUESTS: u32 = 1000;
/// A signed token may at most double a short request. Streams and hubs are checked once.
const GOAL: f64 = 2.0;

/// A kind of token, a server that accepts it, and what its requests took.
struct Candidate {
    name: &'static str,
    request: reqwest::RequestBuilder,
    /// Microseconds of a request, by round.
    micros: Vec<f64>,
}

impl Candidate {
    async fn start(
        name: &'static str,
        engine: &Engine,
        signed: Option<(Algorithm, Vec<u8>, EncodingKey)>,
    ) -> Result<Self> {
        let tokens = Tokens {
            api: Secret::strong(API_TOKEN)?,
            node: Secret::strong(NODE_TOKEN)?,
        };
        let mut config = Config::new(tokens);
        config.addr.set_port(0);
        let token = match signed {
            Some((algorithm, key, signer)) => {
                config.jwt = Some(JwtVerifier::new(algorithm, &key, ISSUER, AUDIENCE)?);
                sign(algorithm, &signer)?
            }
            None => API_TOKEN.to_owned(),
        };
        let server = Server::bind(config, engine.clone()).await?;
        let url = format!("http://{}/api/v1/modules", server.local_addr());
        tokio::spawn(server.run(std::future::pending()));
        Ok(Self {
            name,
            request: reqwest::Client::new().get(url).bearer_auth(token),
            micros: Vec::new(),
        })
    }

    async fn measure(&mut self) -> Result<()> {
        let micros = micros_per_request(&self.request, REQUESTS).await?;
        self.micros.push(micros);
        Ok(())
    }
}

/// A token of a viewer that outlives the bench.
fn sign(algorithm: Algorithm, key: &EncodingKey) -> Result<String> {
    let expires = SystemClock.now() + Duration::from_secs(3600);
    let claims = json!({
        "sub": "ada", "role": "viewer", "exp": expires.millis() / 1000,
        "iss": ISSUER, "aud": AUDIENCE,
    });
    Ok(jsonwebtoken::encode(
        &Header::new(algorithm.into()),
        &claims,
        key,
    )?)
}

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let resources = EngineResources::new(folder.path(), BTreeMap::new()).await?;
    let store = Arc::new(resources.store.clone());
    let engine = resources.start_engine(store).await?;
    let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256)?;
    let ec = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let ed = KeyPair::generate_for(&PKCS_ED25519)?;
    let public = |pair: &KeyPair| pair.public_key_pem().into_bytes();
    let private = |pair: &KeyPair| pair.serialize_pem().into_bytes();
    let mut candidates = [
        Candidate::start("API token", &engine, None).await?,
        Candidate::start("API token, again", &engine, None).await?,
    ]
    .into_iter()
    .collect::<Vec<_>>();
    for (name, algorithm, key, signer) in [
        (
            "HS256",
            Algorithm::Hs256,
            SECRET.to_vec(),
            EncodingKey::from_secret(SECRET),
        ),
        (
            "RS256, 2048 bits",
            Algorithm::Rs256,
            public(&rsa),
            EncodingKey::from_rsa_pem(&private(&rsa))?,
        ),
        (
            "ES256",
            Algorithm::Es256,
            public(&ec),
            EncodingKey::from_ec_pem(&private(&ec))?,
        ),
        (
            "EdDSA",
            Algorithm::EdDsa,
            public(&ed),
            EncodingKey::from_ed_pem(&private(&ed))?,
        ),
    ] {
        let signed = Some((algorithm, key, signer));
        candidates.push(Candidate::start(name, &engine, signed).await?);
    }
    for candidate in &mut candidates {
        candidate.measure().await?;
        // Caches are warm now.
        candidate.micros.clear();
    }
    for round in 0..ROUNDS {
        candidates.rotate_left(round % 2 + 1);
        for candidate in &mut candidates {
            candidate.measure().await?;
        }
    }
    candidates.sort_by_key(|candidate| candidate.name != "API token");
    let [api, signed @ ..] = &candidates[..] else {
        unreachable!("there are six");
    };
    print_header();
    for candidate in signed {
        let ratio = median_ratio(&candidate.micros, &api.micros);
        let measured = format!("{:.1} µs", median(candidate.micros.clone()));
        let against = format!("{:.1} µs API token", median(api.micros.clone()));
        print_row(candidate.name, &measured, &against, ratio, GOAL);
    }
    check_goals()
}
