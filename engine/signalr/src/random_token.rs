use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The random bytes of a connection token: more than the 122 random bits of a UUID.
const TOKEN_BYTES: usize = 18;

/// A token that cannot be guessed.
///
/// # Panics
/// Where the operating system provides no randomness: without it, one client could use the
/// connection of another.
#[expect(clippy::expect_used, reason = "see above")]
pub(crate) fn random_token() -> String {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).expect("the operating system provides randomness");
    URL_SAFE_NO_PAD.encode(bytes)
}
