//! Secrets within texts: of URLs, headers, command lines, variables and files.

use super::REMOVED;
use super::key::{Place, is_secret};

/// Words that stand before a secret in a header.
const SCHEMES: [&str; 4] = ["bearer", "basic", "digest", "negotiate"];

/// How tokens of well-known services begin.
const TOKENS: [&str; 8] = [
    "ghp_",
    "github_pat_",
    "glpat-",
    "hvs.",
    "sk_live_",
    "xoxb-",
    "xoxp-",
    "AIza",
];

/// A text without what looks like a secret in it.
pub(super) fn without_secrets(text: &str) -> String {
    if text.contains("PRIVATE KEY-----") {
        return REMOVED.to_owned();
    }
    let is_url = text
        .split_once("://")
        .is_some_and(|(scheme, _)| !scheme.contains(char::is_whitespace));
    if is_url && let Some(clean) = url_without_secrets(text) {
        // Whole: what follows a space may still be of the query.
        return clean;
    }
    words_without_secrets(&pairs_without_secrets(text))
}

/// A URL without what is before its last `@`, as a password may have any letter, and without its
/// query and its fragment. `None` for anything else, and for a URL that has none of them.
fn url_without_secrets(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let host = rest.rsplit_once('@').map(|(_, host)| host);
    let address = host.unwrap_or(rest);
    let path = address.split_once(['?', '#']).map(|(path, _)| path);
    if host.is_none() && path.is_none() {
        return None;
    }
    let user = host.map_or_else(String::new, |_| format!("{REMOVED}@"));
    let query = path.map_or_else(String::new, |_| format!("?{REMOVED}"));
    let path = path.unwrap_or(address);
    Some(format!("{scheme}://{user}{path}{query}"))
}

/// Removes values of `name=value` and `name: value` whose names are those of secrets. That of a
/// header goes on to the end of its line.
fn pairs_without_secrets(text: &str) -> String {
    let (mut clean, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(['=', ':']) {
        let (name, after) = rest.split_at(at);
        let (sign, after) = after.split_at(1);
        clean.push_str(name);
        clean.push_str(sign);
        rest = after;
        if !is_secret(last_word(name), Place::Known) {
            continue;
        }
        let value = after.trim_start_matches([' ', '"', '\'']);
        let (gap, value) = after.split_at(after.len() - value.len());
        let end = match gap.chars().last() {
            Some(quote @ ('"' | '\'')) => value.find(quote),
            _ if sign == ":" => value.find(['\n', '\r']),
            _ => value.find(|letter: char| letter.is_whitespace() || ";&\"'".contains(letter)),
        };
        let end = end.unwrap_or(value.len());
        if end > 0 {
            clean.push_str(gap);
            clean.push_str(REMOVED);
            rest = value.split_at(end).1;
        }
    }
    clean + rest
}

/// The word at the end of a text, quotes left out.
fn last_word(text: &str) -> &str {
    let text = text.trim_end_matches([' ', '"', '\'']);
    let is_part = |letter: char| letter.is_alphanumeric() || "-_.".contains(letter);
    let start = text.trim_end_matches(is_part).len();
    text.split_at(start).1
}

/// Removes tokens, what follows `Bearer` or `--password`, and the secrets of URLs.
fn words_without_secrets(text: &str) -> String {
    let mut clean = String::new();
    let mut is_value = false;
    for part in text.split_inclusive(char::is_whitespace) {
        let word = part.trim_end();
        let (_, space) = part.split_at(word.len());
        let bare = word.trim_matches(['"', '\'', ',', '[', ']']);
        if bare.is_empty() {
            clean.push_str(part);
            continue;
        }
        if is_value && bare != REMOVED || is_token(bare) {
            clean.push_str(REMOVED);
        } else {
            clean.push_str(&url_without_secrets(word).unwrap_or_else(|| word.to_owned()));
        }
        clean.push_str(space);
        is_value = precedes_secret(bare);
    }
    clean
}

/// Whether the word after this one is a secret: after `--password`, and after `Bearer`.
pub(super) fn precedes_secret(word: &str) -> bool {
    let is_flag = word.starts_with('-') && !word.contains('=');
    is_flag && is_secret(word, Place::Known) || SCHEMES.contains(&word.to_lowercase().as_str())
}

/// Whether a word has the form of a token: of a known service, or a signed one of three parts.
fn is_token(word: &str) -> bool {
    let is_signed = word.starts_with("eyJ") && word.split('.').count() == 3;
    is_signed || TOKENS.iter().any(|start| word.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_within_texts_are_removed() {
        for text in [
            "https://ada:S3CRET@host:1/path",
            "https://ada:pass/S3CRET@x@host/path",
            "https://host/path?sig=S3CRET of it",
            "https://host/path#access_token=S3CRET",
            "redis://:S3CRET@a:1,redis://:S3CRET@b:2",
            "see https://ada:S3CRET@host for it",
            "-----BEGIN RSA PRIVATE KEY-----\nS3CRET\n-----END RSA PRIVATE KEY-----",
            "Authorization: Basic S3CRET",
            "authorization:Basic S3CRET",
            "X-Api-Key: S3CRET of two words",
            "Cookie: a=S3CRET; b=S3CRET",
            "Bearer S3CRET",
            "--token S3CRET",
            "--token=S3CRET",
            "run -v --db-password S3CRET --verbose",
            "[\"--password\", \"S3CRET\"]",
            "API_TOKEN=S3CRET",
            "host=db password=S3CRET user=ada",
            "Server=db;Pwd=S3CRET;Database=shop",
            "password=\"S3CRET of two words\"",
            "{\"user\":\"ada\",\"password\":\"S3CRET\"}",
            "ghp_S3CRET",
            "eyJS3CRET.eyJS3CRET.S3CRET",
        ] {
            let clean = without_secrets(text);
            assert!(!clean.contains("S3CRET"), "{text}: {clean}");
            assert!(clean.contains(REMOVED), "{text}: {clean}");
        }
    }

    #[test]
    fn other_texts_stay() {
        for text in [
            "",
            "dc1",
            "http://h:1/a",
            "not @ URL?",
            "/etc/hotswap/token",
            "--token-file /etc/token",
            "tokenFile=/etc/token",
            "tier=edge,zone in (a, b)",
            "0.0.0.0:8080",
            "[::1]:80",
            "a  b\n c ",
            "30s",
        ] {
            assert_eq!(without_secrets(text), text);
        }
        assert_eq!(
            without_secrets("host=db password=x user=ada"),
            "host=db password=(removed) user=ada"
        );
    }
}
