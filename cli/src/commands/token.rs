//! `token`: needs no engine, but the secret that the engine has.

use std::path::Path;

use anyhow::{Context as _, Result};
use hotswap_core::{Clock as _, SystemClock};
use serde_json::json;

use super::print;
use crate::args::{Global, Serve, Token};
use crate::config::{self, Config};
use crate::exit::{Exit, Usage};
use crate::jwt::Jwt;
use crate::output::say;
use crate::settings::{self, Environ};

/// Signs a token and prints it, and nothing else on standard output.
pub fn run(args: &Token, global: &Global, environ: &Environ, here: &Path) -> Result<Exit> {
    if args.expires.is_zero() {
        return Err(Usage("a token that expires at once opens nothing".to_owned()).into());
    }
    let signer = jwt(args, global, here)?.signer()?;
    let email = global.email.as_ref().unwrap_or(&environ.email);
    let subject = args.subject.as_ref().unwrap_or(email);
    let now = SystemClock.now();
    let expires = now + args.expires;
    let token = signer.sign(subject, args.role, now, expires)?;
    if global.json {
        let told = json!({
            "token": token,
            "subject": subject,
            "role": args.role.as_str(),
            "expiresAt": expires,
        });
        return print(&serde_json::to_string_pretty(&told)?);
    }
    let span = humantime::format_duration(args.expires);
    say(&format!(
        "a token of {subject} with the role {}, for {span}; use it with HOTSWAP_TOKEN or --token-file",
        args.role
    ));
    print(&token)
}

/// How the engine that is meant checks tokens.
fn jwt(args: &Token, global: &Global, here: &Path) -> Result<Jwt> {
    if args.config.is_none()
        && let Some(folder) = settings::dev_folder(global, here)?
    {
        return Ok(Jwt::of_dev(&folder));
    }
    let serve = Serve {
        config: args.config.clone(),
        ..Serve::default()
    };
    let config = Config::read(&serve, |_| None)?;
    config.jwt.with_context(|| {
        let file = config::FILE;
        let file = args.config.as_deref().unwrap_or(Path::new(file));
        format!(
            "no `hotswap dev` runs here, and {} has no [jwt] with algorithm, secretFile, issuer and audience: add it, and start the engine again",
            file.display()
        )
    })
}
