//! `hotswap token`: calls no engine, but reads the secret that the engine validates with.

use std::path::Path;

use anyhow::{Context as _, Result};
use hotswap_core::{Clock as _, SystemClock};
use serde_json::json;

use super::print;
use crate::args::{Global, Serve, SignToken, shorten};
use crate::config::{Config, Jwt};
use crate::environment_variables::EnvironmentVariables;
use crate::exit::{Exit, UsageError};
use crate::output::print_message;
use crate::{defaults, settings};

/// The longest subject that an engine accepts, in bytes.
const MAX_SUBJECT: usize = 255;

/// Signs a token and prints it. Standard output holds nothing else.
pub fn run(
    args: &SignToken,
    global: &Global,
    variables: &EnvironmentVariables,
    current_folder: &Path,
) -> Result<Exit> {
    let signer = jwt(args, global, current_folder)?.signer()?;
    let email = global.email.as_ref().unwrap_or(&variables.email);
    let subject = args.subject.as_ref().unwrap_or(email);
    if subject.len() > MAX_SUBJECT {
        return Err(UsageError(format!(
            "the subject '{}' is longer than {MAX_SUBJECT} bytes",
            shorten(subject)
        ))
        .into());
    }
    let now = SystemClock.now();
    let expires_at = now + args.expires;
    let token = signer.sign(subject, args.role, now, expires_at)?;
    if global.json {
        let record = json!({
            "token": token,
            "subject": subject,
            "role": args.role.as_str(),
            "expiresAt": expires_at,
        });
        return print(&serde_json::to_string_pretty(&record)?);
    }
    let duration = humantime::format_duration(args.expires);
    print_message(&format!(
        "token of {subject} with the role {}, valid for {duration}; use it with HOTSWAP_TOKEN \
         or --token-file",
        args.role
    ));
    print(&token)
}

/// How the engine validates tokens: the one of `hotswap dev` that runs here, unless a
/// configuration file is named.
fn jwt(args: &SignToken, global: &Global, current_folder: &Path) -> Result<Jwt> {
    if args.config.is_none()
        && let Some(folder) = settings::dev_folder(global, current_folder)?
    {
        return Ok(Jwt::for_dev(&folder));
    }
    let serve = Serve {
        config: args.config.clone(),
        ..Serve::default()
    };
    let config = Config::read(&serve, |_| None)?;
    config.jwt.with_context(|| {
        let default_file = Path::new(defaults::CONFIG_FILE);
        let file = args.config.as_deref().unwrap_or(default_file);
        format!(
            "no `hotswap dev` runs here, and {} has no section [jwt] with algorithm, secretFile, \
             issuer and audience: add it, and restart the engine",
            file.display()
        )
    })
}
