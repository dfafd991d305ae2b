use hotswap_core::Timestamp;

use super::Role;
use crate::problem::{Kind, Problem};

/// How the journal names whoever shows the API token.
pub(super) const API_TOKEN: &str = "api-token";

/// Who asks, as the token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The name in the journal.
    pub subject: String,
    /// What they may do.
    pub role: Role,
    /// From when on the token is nobody's; none for one that stays. What goes on for
    /// longer than a request ends then.
    pub expires_at: Option<Timestamp>,
}

impl Identity {
    /// Whoever shows the API token.
    pub(super) fn of_the_api_token() -> Self {
        Self {
            subject: API_TOKEN.to_owned(),
            role: Role::Admin,
            expires_at: None,
        }
    }

    /// How the journal names them, where they give an address: whoever shows the API token
    /// may be anybody, a signed token tells who it is.
    pub fn name(&self, address: Option<String>) -> String {
        match address {
            Some(address) if self.subject == API_TOKEN => address,
            _ => self.subject.clone(),
        }
    }

    /// That they have this role, or one that may do more.
    ///
    /// # Errors
    /// A 403 that says which role is needed.
    pub fn must_be(&self, needed: Role) -> Result<(), Problem> {
        if self.role >= needed {
            return Ok(());
        }
        let has = self.role;
        let detail = format!("this needs the role {needed}, and the token has the role {has}");
        Err(Problem::new(Kind::Forbidden, detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_that_is_too_low_is_told_with_the_one_that_is_needed() {
        let of = |role| Identity {
            role,
            ..Identity::of_the_api_token()
        };
        for role in Role::ALL {
            for needed in Role::ALL {
                let refused = of(role).must_be(needed);
                assert_eq!(refused.is_ok(), role >= needed, "{role} for {needed}");
            }
        }
        let refused = of(Role::Viewer).must_be(Role::Admin).unwrap_err();
        let said = refused.to_string();
        assert!(said.contains("admin") && said.contains("viewer"), "{said}");
    }
}
