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

fn jwt(algorithm: Algorithm, key: &[u8]) -> JwtVerifier {
    JwtVerifier::new(algorithm, key, ISSUER, "hotswap").unwrap()
}

/// Valid claims, changed by `changes`: `null` removes a claim.
fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "sub": "ada", "role": "operator", "exp": 1_700_000_900, "iss": ISSUER, "aud": "hotswap",
    });
    let fields = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
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

/// The result for a correctly signed token with these changes to its claims.
fn verify(changes: Value) -> Result<Identity, Rejection> {
    let token = signed(&Header::default(), &claims(changes));
    jwt(Algorithm::Hs256, SECRET).verify(&token, now())
}

#[test]
fn tokens_of_another_implementation_are_accepted() {
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
        assert_eq!(jwt(algorithm, key).verify(token, now()), Ok(expected));
    }
}

#[test]
fn the_header_does_not_choose_the_algorithm() {
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
                jwt.verify(other, now()).is_ok(),
                other == own,
                "{algorithm:?}"
            );
        }
        // A classic attack: sign with HMAC, and the public key as the secret.
        let forged = jsonwebtoken::encode(
            &Header::default(),
            &claims(json!({})),
            &EncodingKey::from_secret(key),
        );
        let forged = jwt.verify(&forged.unwrap(), now());
        assert_eq!(forged.is_ok(), algorithm == Algorithm::Hs256);
    }
    // Signed with the right secret but another algorithm.
    let header = Header::new(jsonwebtoken::Algorithm::HS384);
    let token = signed(&header, &claims(json!({})));
    let rejected = jwt(Algorithm::Hs256, SECRET).verify(&token, now());
    assert_eq!(rejected, Err(Rejection::Unknown));
}

#[test]
fn a_changed_token_is_rejected() {
    let jwt = jwt(Algorithm::Hs256, SECRET);
    let token = signed(&Header::default(), &claims(json!({})));
    assert!(jwt.verify(&token, now()).is_ok());
    let parts: Vec<_> = token.split('.').collect();
    let admin = signed(&Header::default(), &claims(json!({"role": "admin"})));
    let admin = admin.split('.').nth(1).unwrap();
    for invalid in [
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
        assert_eq!(
            jwt.verify(&invalid, now()),
            Err(Rejection::Unknown),
            "{invalid}"
        );
    }
    for index in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(jwt.verify(&changed, now()).is_err(), "{index}");
    }
    let other = b"0123456789abcdef0123456789abcdeF";
    let other = JwtVerifier::new(Algorithm::Hs256, other, ISSUER, "hotswap").unwrap();
    assert_eq!(other.verify(&token, now()), Err(Rejection::Unknown));
}

#[test]
fn every_claim_is_required_and_checked() {
    for name in ["sub", "role", "exp", "iss", "aud"] {
        let rejected = verify(json!({ name: null }));
        assert_eq!(rejected, Err(Rejection::Claim(ClaimError::Missing(name))));
    }
    for (changes, expected) in [
        (json!({"iss": "https://other.example"}), ClaimError::Issuer),
        (json!({"aud": "billing"}), ClaimError::Audience),
        (json!({"aud": []}), ClaimError::Audience),
        (json!({"aud": ["a", "Hotswap"]}), ClaimError::Audience),
        (
            json!({"role": "root"}),
            ClaimError::Role(crate::auth::UnknownRole),
        ),
        (
            json!({"role": ""}),
            ClaimError::Role(crate::auth::UnknownRole),
        ),
        (json!({"sub": ""}), ClaimError::Subject(InvalidSubject)),
        (json!({"sub": "a\nb"}), ClaimError::Subject(InvalidSubject)),
        (
            json!({"sub": "api-token"}),
            ClaimError::Subject(InvalidSubject),
        ),
        (
            json!({"sub": "x".repeat(256)}),
            ClaimError::Subject(InvalidSubject),
        ),
        (json!({"nbf": 1_700_000_031}), ClaimError::NotYetValid),
    ] {
        assert_eq!(
            verify(changes.clone()),
            Err(Rejection::Claim(expected)),
            "{changes}"
        );
    }
    // Claims of the wrong type.
    for changes in [
        json!({"sub": 7}),
        json!({"role": ["admin"]}),
        json!({"exp": "1700000900"}),
        json!({"exp": true}),
        json!({"nbf": "now"}),
    ] {
        assert_eq!(
            verify(changes.clone()),
            Err(Rejection::Unknown),
            "{changes}"
        );
    }
    for changes in [
        json!({"aud": ["a", "hotswap"]}),
        json!({"nbf": 1_700_000_030}),
        json!({"nbf": 0.5}),
        json!({"role": "ADMIN"}),
        json!({"sub": "x".repeat(255)}),
        json!({"unknown": {"claim": true}}),
    ] {
        assert!(verify(changes.clone()).is_ok(), "{changes}");
    }
}

#[test]
fn a_token_expires_on_the_millisecond() {
    let jwt = jwt(Algorithm::Hs256, SECRET);
    let verify = |exp: Value, now: u64| {
        let token = signed(&Header::default(), &claims(json!({ "exp": exp })));
        jwt.verify(&token, Timestamp::from_millis(now))
    };
    assert!(verify(json!(1_700_000_000), 1_699_999_999_999).is_ok());
    let expired = verify(json!(1_700_000_000), 1_700_000_000_000);
    assert_eq!(expired, Err(Rejection::Expired));
    assert!(verify(json!(1_700_000_000.25), 1_700_000_000_249).is_ok());
    let expired = verify(json!(1_700_000_000.25), 1_700_000_000_250);
    assert_eq!(expired, Err(Rejection::Expired));
    let expired = verify(json!(0), 0);
    assert_eq!(expired, Err(Rejection::Expired));
    // Later than 64 bits can count.
    let never = verify(json!(1e18), u64::MAX - 1).unwrap();
    assert_eq!(never.expires_at, Some(Timestamp::MAX));
    for exp in [json!(-1), json!(1e300)] {
        assert!(verify(exp.clone(), 1).is_err(), "{exp}");
    }
}

#[test]
fn a_token_with_critical_extensions_is_rejected() {
    let header = Header {
        crit: Some(vec!["b64".to_owned()]),
        ..Header::default()
    };
    let token = signed(&header, &claims(json!({})));
    let rejected = jwt(Algorithm::Hs256, SECRET).verify(&token, now());
    assert_eq!(rejected, Err(Rejection::Unknown));
}

#[test]
fn an_unusable_key_is_rejected_with_what_is_needed() {
    let new = |algorithm, key: &[u8]| JwtVerifier::new(algorithm, key, ISSUER, "hotswap").err();
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
        for invalid in [
            "",
            "0123456789abcdef0123456789abcdef",
            &EC_KEY.replace("PUBLIC", "PRIVATE"),
            &EC_KEY.replace("PUBLIC KEY", "CERTIFICATE"),
        ] {
            let rejected = new(algorithm, invalid.as_bytes());
            assert_eq!(rejected, Some(KeyError::NotPublic), "{invalid}");
        }
        let truncated = new(algorithm, &EC_KEY.as_bytes()[..40]);
        assert!(
            matches!(truncated, Some(KeyError::Other(_))),
            "{truncated:?}"
        );
    }
}

#[test]
fn tokens_of_the_signer_are_accepted() {
    let signer = Signer::new(SECRET, ISSUER, "hotswap").unwrap();
    let jwt = jwt(Algorithm::Hs256, SECRET);
    let expires = Timestamp::from_millis(1_700_000_059_001);
    for role in Role::ALL {
        let token = signer.sign("ada", role, now(), expires).unwrap();
        let identity = jwt.verify(&token, now()).unwrap();
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
