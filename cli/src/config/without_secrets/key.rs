//! What the keys of a configuration say about their values.

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Among the keys of this program, where `key` and `clientKey` name files.
    Known,
    /// Among settings whose keys others have chosen.
    Free,
}

/// Parts of keys that name secrets.
const WORDS: [&str; 19] = [
    "password",
    "passphrase",
    "passwd",
    "passcode",
    "pwd",
    "secret",
    "token",
    "credential",
    "authorization",
    "apikey",
    "accesskey",
    "privatekey",
    "signature",
    "cookie",
    "sessionid",
    "connectionstring",
    // The path of such a URL is the secret.
    "webhook",
    "bearer",
    "jwt",
];

/// Ends of keys that name secrets; elsewhere they are parts of harmless words, such as `author`.
const ENDS: [&str; 7] = ["auth", "pass", "pw", "psk", "dsn", "otp", "pin"];

/// Ends of keys that name a file of a secret, or what the secret belongs to. Not any id: that of a
/// role of Vault, `secretId`, is itself a secret.
const NAMES: [&str; 4] = ["file", "path", "prefix", "keyid"];

/// Ends of keys whose values are secrets even if they are numbers.
const NUMBERS: [&str; 6] = ["password", "passwd", "passcode", "pwd", "pin", "otp"];

/// Whether a key names a secret itself. It may name several, or have the secret inside.
pub(super) fn is_secret(key: &str, place: Place) -> bool {
    let key = plain(key);
    if NAMES.iter().any(|end| key.ends_with(end)) {
        return false;
    }
    let is_key = |end: &str| key.ends_with(end) && !key.ends_with(&format!("public{end}"));
    WORDS.iter().any(|word| key.contains(word))
        || ENDS.iter().any(|end| key.ends_with(end))
        || place == Place::Free && (is_key("key") || is_key("keys"))
}

/// Whether a number under this key is a secret. Most numbers say how many secrets there are, or how
/// long they hold.
pub(super) fn is_secret_number(key: &str) -> bool {
    let key = plain(key);
    NUMBERS.iter().any(|end| key.ends_with(end))
}

/// The same word however it is written: `api-key`, `API_KEY`, `apiKey`.
fn plain(key: &str) -> String {
    let key = key.chars().filter(|letter| letter.is_alphanumeric());
    key.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_secrets_are_known_however_they_are_written() {
        for key in [
            "dbPassword",
            "DB_PWD",
            "pwd",
            "secretId",
            "role_secret_id",
            "tokenId",
            "api-key",
            "X-Api-Key",
            "Proxy-Authorization",
            "x-vault-token",
            "set.cookie",
            "slackWebhookUrl",
            "basicAuth",
            "dsn",
        ] {
            assert!(is_secret(key, Place::Known), "{key}");
        }
        for key in ["key", "keys", "sharedKey", "signing_key"] {
            assert!(is_secret(key, Place::Free), "{key}");
            assert!(!is_secret(key, Place::Known), "{key}");
        }
    }

    #[test]
    fn names_of_files_and_owners_are_no_secrets() {
        for key in [
            "tokenFile",
            "secret_path",
            "accessKeyId",
            "keyPrefix",
            "publicKey",
            "clientId",
            "author",
            "keyboard",
            "datacenter",
        ] {
            assert!(!is_secret(key, Place::Free), "{key}");
        }
    }
}
