use serde_json::{Map, Value, json};

use crate::exit::Exit;

/// How a command ended: the one JSON object that a command prints with `--json` which waits,
/// changes something or fails.
///
/// Members of the engine's response stand beside those of this program: `id`, `state`,
/// `exitReason`, `exitCode`, `message`, `next` and `error`. All but `error` are always there.
#[derive(Debug, Clone)]
pub struct ExitReport {
    exit: Exit,
    response: Map<String, Value>,
    id: Option<String>,
    state: Option<String>,
    message: Option<String>,
    next: Option<String>,
    error: Option<Value>,
}

impl ExitReport {
    /// A report that tells nothing but the exit.
    pub fn new(exit: Exit) -> Self {
        Self {
            exit,
            response: Map::new(),
            id: None,
            state: None,
            message: None,
            next: None,
            error: None,
        }
    }

    /// Adds what the command is about: a deployment's id, `module@version` or a name.
    pub fn id(mut self, id: impl ToString) -> Self {
        self.id = Some(id.to_string());
        self
    }

    /// Adds the state that this is in, such as a deployment's status.
    pub fn state(mut self, state: impl Into<String>) -> Self {
        self.state = Some(state.into());
        self
    }

    /// Adds a sentence for people.
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }

    /// Adds what to do next.
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// Adds why the command failed.
    pub fn error(mut self, error: Value) -> Self {
        self.error = Some(error);
        self
    }

    /// Adds the engine's response: each of its members, and the state of a deployment.
    pub fn response(mut self, response: Value) -> Self {
        if let Value::Object(members) = response {
            let status = members.get("status").and_then(Value::as_str);
            self.state = status.map(str::to_owned).or(self.state);
            self.response = members;
        }
        self
    }

    /// The object.
    pub fn to_json(&self) -> Value {
        let mut object = self.response.clone();
        let members = [
            ("id", json!(self.id)),
            ("state", json!(self.state)),
            ("exitReason", json!(self.exit.reason())),
            ("exitCode", json!(self.exit.code())),
            ("message", json!(self.message)),
            ("next", json!(self.next)),
        ];
        object.extend(members.map(|(name, value)| (name.to_owned(), value)));
        if let Some(error) = &self.error {
            object.insert("error".to_owned(), error.clone());
        }
        Value::Object(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_of_a_response_stand_beside_those_of_the_exit() {
        let report = ExitReport::new(Exit::Success)
            .id("a")
            .response(json!({"executionId": "a", "status": "paused", "id": "b"}))
            .next("hotswap resume a");
        assert_eq!(
            report.to_json(),
            json!({"executionId": "a", "status": "paused", "id": "a", "state": "paused",
                "exitReason": "done", "exitCode": 0, "message": null,
                "next": "hotswap resume a"})
        );
    }
}
