use hotswap_core::Timestamp;

use super::Role;
use crate::problem::{Kind, Problem};

/// The subject that stands for the API token in the journal.
pub(super) const API_TOKEN_SUBJECT: &str = "api-token";

/// Who sends a request, according to its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The name in the journal.
    pub subject: String,
    /// What the token allows.
    pub role: Role,
    /// When the token expires; `None` for the API token. Streams and connections that
    /// outlive the request end then.
    pub expires_at: Option<Timestamp>,
}

impl Identity {
    /// The identity of the API token.
    pub(super) fn api_token() -> Self {
        Self {
            subject: API_TOKEN_SUBJECT.to_owned(),
            role: Role::Admin,
            expires_at: None,
        }
    }

    /// The name to journal for an action. People share the API token, so the address that
    /// they give names them; a signed token already names its owner.
    pub fn name(&self, email: Option<String>) -> String {
        match email {
            Some(email) if self.subject == API_TOKEN_SUBJECT => email,
            _ => self.subject.clone(),
        }
    }

    /// Requires this role or a higher one.
    ///
    /// # Errors
    /// A 403 that names the role that is needed.
    pub fn require(&self, needed: Role) -> Result<(), Problem> {
        if self.role >= needed {
            return Ok(());
        }
        let role = self.role;
        let detail = format!(
            "this operation needs the role {needed}, but the token has the role {role}; use a token with a higher role"
        );
        Err(Problem::new(Kind::Forbidden, detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_that_is_too_low_is_rejected_with_the_needed_one() {
        let identity = |role| Identity {
            role,
            ..Identity::api_token()
        };
        for role in Role::ALL {
            for needed in Role::ALL {
                let result = identity(role).require(needed);
                assert_eq!(result.is_ok(), role >= needed, "{role} for {needed}");
            }
        }
        let rejection = identity(Role::Viewer).require(Role::Admin).unwrap_err();
        let text = rejection.to_string();
        assert!(text.contains("admin") && text.contains("viewer"), "{text}");
    }
}
