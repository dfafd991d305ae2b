use std::fmt;
use std::str::FromStr;

/// What a token allows. Each role allows all that the roles before it allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads everything, and watches single deployments.
    Viewer,
    /// Uploads modules; creates and controls deployments.
    Operator,
    /// Uploads and deletes strategies, deletes nodes, and watches all deployments at once.
    Admin,
}

/// A text that names no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is viewer, operator or admin")]
pub struct UnknownRole;

impl Role {
    /// All roles, lowest first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// The name of the role, as it stands in tokens.
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

    /// Ignores case. Takes `deployer` for an operator, because some issuers call it that.
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
    fn roles_rise_from_viewer_to_admin() {
        assert!(Role::ALL.is_sorted());
        assert!(Role::Admin > Role::Operator && Role::Operator > Role::Viewer);
    }

    #[test]
    fn parsing_ignores_case_and_rejects_other_texts() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
            assert_eq!(role.as_str().to_uppercase().parse(), Ok(role));
        }
        assert_eq!("Deployer".parse(), Ok(Role::Operator));
        for invalid in ["", "root", "admin ", "viewer,admin", "аdmin"] {
            assert_eq!(invalid.parse::<Role>(), Err(UnknownRole), "{invalid}");
        }
    }
}
