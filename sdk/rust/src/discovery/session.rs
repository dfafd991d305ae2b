use super::Error;

/// A session with a registry that gives a token to who logs in, for some minutes.
#[derive(Debug, Default)]
pub struct Session {
    token: Option<String>,
}

impl Session {
    /// Makes a call with a token: logs in first, if there is none. A call that is denied is made
    /// once more, with a new token: the one before may be no longer valid. `client` is what both
    /// send their requests with.
    ///
    /// # Errors
    /// Those of both.
    pub fn call<C, T>(
        &mut self,
        client: &mut C,
        mut log_in: impl FnMut(&mut C) -> Result<String, Error>,
        mut call: impl FnMut(&mut C, &str) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut token = match self.token.take() {
            Some(token) => token,
            None => log_in(client)?,
        };
        let is_denied = |outcome: &Result<T, Error>| matches!(outcome, Err(Error::Denied(_)));
        let mut outcome = call(client, &token);
        if is_denied(&outcome) {
            token = log_in(client)?;
            outcome = call(client, &token);
        }
        if !is_denied(&outcome) {
            self.token = Some(token);
        }
        outcome
    }

    /// The next call logs in.
    pub fn forget(&mut self) {
        self.token = None;
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, Session};

    /// Makes a call for which `valid` is the only token. Returns the tokens that it was made with.
    fn call(session: &mut Session, logins: &mut u32, valid: &str) -> (Vec<String>, bool) {
        let mut used = Vec::new();
        let log_in = |logins: &mut u32| {
            *logins += 1;
            Ok(format!("t{logins}"))
        };
        let made = session.call(logins, log_in, |_, token| {
            used.push(token.to_owned());
            match token == valid {
                true => Ok(()),
                false => Err(Error::Denied("no".to_owned())),
            }
        });
        (used, made.is_ok())
    }

    #[test]
    fn a_token_is_kept_until_it_is_denied_and_then_renewed_once() {
        let (mut session, mut logins) = (Session::default(), 0);
        let mut tokens = |valid: &str| call(&mut session, &mut logins, valid);
        assert_eq!(tokens("t1"), (vec!["t1".to_owned()], true));
        assert_eq!(tokens("t1"), (vec!["t1".to_owned()], true));
        let both = |one: &str, other: &str| vec![one.to_owned(), other.to_owned()];
        assert_eq!(tokens("t2"), (both("t1", "t2"), true));
        assert_eq!(tokens("none"), (both("t2", "t3"), false));
        assert_eq!(tokens("t4"), (vec!["t4".to_owned()], true));
    }

    #[test]
    fn a_log_in_that_is_denied_is_not_repeated_and_an_outage_costs_no_token() {
        let mut session = Session::default();
        let mut logins = 0;
        let denied = session.call(
            &mut logins,
            |logins| {
                *logins += 1;
                Err(Error::Denied("wrong".to_owned()))
            },
            |_, _| Ok(()),
        );
        assert!(denied.is_err());
        assert_eq!(logins, 1);
        let log_in = |logins: &mut u32| {
            *logins += 1;
            Ok("t".to_owned())
        };
        for _ in 0..3 {
            let down = |_: &mut u32, _: &str| -> Result<(), Error> {
                Err(Error::Unavailable("down".to_owned()))
            };
            assert!(session.call(&mut logins, log_in, down).is_err());
        }
        assert_eq!(logins, 2);
        session.forget();
        assert!(session.call(&mut logins, log_in, |_, _| Ok(())).is_ok());
        assert_eq!(logins, 3);
    }
}
