use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use super::*;
use crate::auth::Role;

mod fixtures;

use fixtures::*;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const ISSUER: &str = "https://issuer.example";

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn now() -> Timestamp {
    at(1_700_000_000)
}

fn jwt(algorithm: Algorithm, key: &[u8]) -> Jwt {
    Jwt::new(algorithm, key, ISSUER, "hotswap").unwrap()
}

/// Good claims, with these besides; `null` takes one out.
fn claims(more: Value) -> Value {
    let mut claims = json!({
        "sub": "ada", "role": "operator", "exp": 1_700_000_900, "iss": ISSUER, "aud": "hotswap",
    });
    let fields = claims.as_object_mut().unwrap();
    for (name, value) in more.as_object().unwrap() {
        fields.insert(name.clone(), value.clone());
        if value.is_null() {
            fields.remove(name);
        }
    }
    claims
}

fn signed(header: &Header, claims: &Value) -> String {
    jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

/// What becomes of a token that is signed as it should be.
fn read(more: Value) -> Result<Identity, Refusal> {
    let token = signed(&Header::default(), &claims(more));
    jwt(Algorithm::Hs256, SECRET).read(&token, now())
}

#[test]
fn what_another_implementation_signed_is_taken() {
    for (algorithm, key, token) in [
        (Algorithm::Hs256, SECRET, HS_TOKEN),
        (Algorithm::Rs256, RSA_KEY.as_bytes(), RSA_TOKEN),
        (Algorithm::Rs256, RSA_PKCS1_KEY.as_bytes(), RSA_TOKEN),
        (Algorithm::Es256, EC_KEY.as_bytes(), EC_TOKEN),
        (Algorithm::EdDsa, ED_KEY.as_bytes(), ED_TOKEN),
    ] {
        let expected = Identity {
            subject: "ada".to_owned(),
            role: Role::Operator,
            expires_at: Some(Timestamp::from_millis(1_700_000_900_500)),
        };
        assert_eq!(jwt(algorithm, key).read(token, now()), Ok(expected));
    }
}

#[test]
fn the_header_does_not_choose_how_a_token_is_checked() {
    for (algorithm, key) in [
        (Algorithm::Hs256, SECRET),
        (Algorithm::Rs256, RSA_KEY.as_bytes()),
        (Algorithm::Es256, EC_KEY.as_bytes()),
        (Algorithm::EdDsa, ED_KEY.as_bytes()),
    ] {
        let jwt = jwt(algorithm, key);
        let own = match algorithm {
            Algorithm::Hs256 => HS_TOKEN,
            Algorithm::Rs256 => RSA_TOKEN,
            Algorithm::Es256 => EC_TOKEN,
            Algorithm::EdDsa => ED_TOKEN,
        };
        for other in [
            HS_TOKEN,
            RSA_TOKEN,
            EC_TOKEN,
            ED_TOKEN,
            HS512_TOKEN,
            NONE_TOKEN,
        ] {
            assert_eq!(
                jwt.read(other, now()).is_ok(),
                other == own,
                "{algorithm:?}"
            );
        }
        // The public key as the secret of an HMAC: the oldest trick.
        let forged = jsonwebtoken::encode(
            &Header::default(),
            &claims(json!({})),
            &EncodingKey::from_secret(key),
        );
        let forged = jwt.read(&forged.unwrap(), now());
        assert_eq!(forged.is_ok(), algorithm == Algorithm::Hs256);
    }
    // Signed as it should be, but by an algorithm that is not the one.
    let header = Header::new(jsonwebtoken::Algorithm::HS384);
    let token = signed(&header, &claims(json!({})));
    let refused = jwt(Algorithm::Hs256, SECRET).read(&token, now());
    assert_eq!(refused, Err(Refusal::Unknown));
}

#[test]
fn what_was_changed_is_not_taken() {
    let jwt = jwt(Algorithm::Hs256, SECRET);
    let token = signed(&Header::default(), &claims(json!({})));
    assert!(jwt.read(&token, now()).is_ok());
    let parts: Vec<_> = token.split('.').collect();
    let admin = signed(&Header::default(), &claims(json!({"role": "admin"})));
    let admin = admin.split('.').nth(1).unwrap();
    for bad in [
        format!("{}.{admin}.{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{token}.{}", parts[2]),
        format!("{token}="),
        format!(" {token}"),
        token.replace('.', ".."),
        String::new(),
        "..".to_owned(),
    ] {
        assert_eq!(jwt.read(&bad, now()), Err(Refusal::Unknown), "{bad}");
    }
    for place in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(jwt.read(&changed, now()).is_err(), "{place}");
    }
    let other = b"0123456789abcdef0123456789abcdeF";
    let other = Jwt::new(Algorithm::Hs256, other, ISSUER, "hotswap").unwrap();
    assert_eq!(other.read(&token, now()), Err(Refusal::Unknown));
}

#[test]
fn each_claim_must_be_there_and_do() {
    for name in ["sub", "role", "exp", "iss", "aud"] {
        let refused = read(json!({ name: null }));
        assert_eq!(refused, Err(Refusal::Unfit(Unfit::Missing(name))));
    }
    for (more, expected) in [
        (json!({"iss": "https://other.example"}), Unfit::Issuer),
        (json!({"aud": "billing"}), Unfit::Audience),
        (json!({"aud": []}), Unfit::Audience),
        (json!({"aud": ["a", "Hotswap"]}), Unfit::Audience),
        (
            json!({"role": "root"}),
            Unfit::Role(crate::auth::UnknownRole),
        ),
        (json!({"role": ""}), Unfit::Role(crate::auth::UnknownRole)),
        (json!({"sub": ""}), Unfit::Subject(BadSubject)),
        (json!({"sub": "a\nb"}), Unfit::Subject(BadSubject)),
        (json!({"sub": "api-token"}), Unfit::Subject(BadSubject)),
        (json!({"sub": "x".repeat(256)}), Unfit::Subject(BadSubject)),
        (json!({"nbf": 1_700_000_031}), Unfit::Early),
    ] {
        assert_eq!(read(more.clone()), Err(Refusal::Unfit(expected)), "{more}");
    }
    // Of another type than it should be.
    for more in [
        json!({"sub": 7}),
        json!({"role": ["admin"]}),
        json!({"exp": "1700000900"}),
        json!({"exp": true}),
        json!({"nbf": "now"}),
    ] {
        assert_eq!(read(more.clone()), Err(Refusal::Unknown), "{more}");
    }
    for more in [
        json!({"aud": ["a", "hotswap"]}),
        json!({"nbf": 1_700_000_030}),
        json!({"nbf": 0.5}),
        json!({"role": "ADMIN"}),
        json!({"sub": "x".repeat(255)}),
        json!({"more": {"than": "asked"}}),
    ] {
        assert!(read(more.clone()).is_ok(), "{more}");
    }
}

#[test]
fn a_token_ends_on_the_millisecond() {
    let jwt = jwt(Algorithm::Hs256, SECRET);
    let read = |exp: Value, now: u64| {
        let token = signed(&Header::default(), &claims(json!({ "exp": exp })));
        jwt.read(&token, Timestamp::from_millis(now))
    };
    assert!(read(json!(1_700_000_000), 1_699_999_999_999).is_ok());
    let ended = read(json!(1_700_000_000), 1_700_000_000_000);
    assert_eq!(ended, Err(Refusal::Expired));
    assert!(read(json!(1_700_000_000.25), 1_700_000_000_249).is_ok());
    let ended = read(json!(1_700_000_000.25), 1_700_000_000_250);
    assert_eq!(ended, Err(Refusal::Expired));
    let ended = read(json!(0), 0);
    assert_eq!(ended, Err(Refusal::Expired));
    // Never, to whoever counts in 64 bits.
    let never = read(json!(1e18), u64::MAX - 1).unwrap();
    assert_eq!(never.expires_at, Some(Timestamp::MAX));
    for odd in [json!(-1), json!(1e300)] {
        assert!(read(odd.clone(), 1).is_err(), "{odd}");
    }
}

#[test]
fn what_it_must_not_be_taken_without_is_not_known_here() {
    let header = Header {
        crit: Some(vec!["b64".to_owned()]),
        ..Header::default()
    };
    let token = signed(&header, &claims(json!({})));
    let refused = jwt(Algorithm::Hs256, SECRET).read(&token, now());
    assert_eq!(refused, Err(Refusal::Unknown));
}

#[test]
fn a_key_that_could_check_nothing_is_refused_with_what_would_do() {
    let new = |algorithm, key: &[u8]| Jwt::new(algorithm, key, ISSUER, "hotswap").err();
    assert_eq!(new(Algorithm::Hs256, &[7; 31]), Some(KeyError::Short(31)));
    let pem = new(Algorithm::Hs256, EC_KEY.as_bytes());
    assert_eq!(pem, Some(KeyError::Pem));
    for (algorithm, word, others) in [
        (Algorithm::Rs256, "2048", [SMALL_RSA_KEY, EC_KEY, ED_KEY]),
        (Algorithm::Es256, "P-256", [P384_KEY, RSA_KEY, ED_KEY]),
        (
            Algorithm::EdDsa,
            "Ed25519",
            [EC_KEY, RSA_KEY, RSA_PKCS1_KEY],
        ),
    ] {
        for key in others {
            let error = new(algorithm, key.as_bytes()).unwrap().to_string();
            assert!(error.contains(word), "{algorithm:?}: {error}");
        }
        for bad in [
            "",
            "0123456789abcdef0123456789abcdef",
            &EC_KEY.replace("PUBLIC", "PRIVATE"),
            &EC_KEY.replace("PUBLIC KEY", "CERTIFICATE"),
        ] {
            let refused = new(algorithm, bad.as_bytes());
            assert_eq!(refused, Some(KeyError::NotPublic), "{bad}");
        }
        let cut = new(algorithm, &EC_KEY.as_bytes()[..40]);
        assert!(matches!(cut, Some(KeyError::Other(_))), "{cut:?}");
    }
}

#[test]
fn what_is_signed_here_is_read_here() {
    let signer = Signer::new(SECRET, ISSUER, "hotswap").unwrap();
    let jwt = jwt(Algorithm::Hs256, SECRET);
    let expires = Timestamp::from_millis(1_700_000_059_001);
    for role in Role::ALL {
        let token = signer.sign("ada", role, now(), expires).unwrap();
        let identity = jwt.read(&token, now()).unwrap();
        assert_eq!((&*identity.subject, identity.role), ("ada", role));
        assert_eq!(identity.expires_at, Some(at(1_700_000_060)));
    }
    let error = signer.sign("api-token", Role::Admin, now(), expires);
    assert!(matches!(error, Err(SignError::Subject { .. })));
    let shown = format!("{signer:?} {jwt:?}");
    assert!(
        !shown.contains("0123") && !shown.contains("48, 49"),
        "{shown}"
    );
}
