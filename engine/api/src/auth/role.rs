use std::fmt;
use std::str::FromStr;

/// What somebody may do. Each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads, but does not follow all deployments at once.
    Viewer,
    /// Uploads modules; begins and steers deployments.
    Operator,
    /// Says by which strategies, forgets nodes, and follows all deployments at once.
    Admin,
}

/// A word that is no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is viewer, operator or admin")]
pub struct UnknownRole;

impl Role {
    /// All, the one that may do least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    /// In any case; `deployer` is what some issuers call an operator.
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        match text.to_ascii_lowercase().as_str() {
            "viewer" => Ok(Self::Viewer),
            "operator" | "deployer" => Ok(Self::Operator),
            "admin" => Ok(Self::Admin),
            _ => Err(UnknownRole),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_may_do_what_those_before_it_may() {
        assert!(Role::ALL.is_sorted());
        assert!(Role::Admin > Role::Operator && Role::Operator > Role::Viewer);
    }

    #[test]
    fn is_read_in_any_case_and_nothing_else_is() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
            assert_eq!(role.as_str().to_uppercase().parse(), Ok(role));
        }
        assert_eq!("Deployer".parse(), Ok(Role::Operator));
        for bad in ["", "root", "admin ", "viewer,admin", "аdmin"] {
            assert_eq!(bad.parse::<Role>(), Err(UnknownRole), "{bad}");
        }
    }
}
