use serde_json::{Value, json};

use super::hub_client::{COMPLETED, FAILED, HubEvent, NODES, PROGRESS, STATUS};

/// The state of a deployment, as a client builds it from a snapshot and events.
pub struct ClientState(pub Value);

impl ClientState {
    /// The state before all events.
    pub fn new() -> Self {
        Self(json!({"nodes": [], "failures": []}))
    }

    /// The state after these events, from the first on.
    pub fn from_events(events: &[HubEvent]) -> Self {
        let mut state = Self::new();
        events.iter().for_each(|event| state.apply(event));
        state
    }

    pub fn apply(&mut self, event: &HubEvent) {
        let (state, argument) = (&mut self.0, &event.argument);
        match &*event.target {
            STATUS => state["status"] = argument["status"].clone(),
            PROGRESS => {
                state["stage"] = argument["stage"].clone();
                state["progress"] = argument["progress"].clone();
            }
            NODES => {
                let nodes = state["nodes"].as_array_mut().unwrap();
                for changed in argument["nodes"].as_array().unwrap() {
                    nodes.retain(|node| node["id"] != changed["id"]);
                    nodes.push(changed.clone());
                }
                nodes.sort_by_key(|node| node["id"].to_string());
            }
            COMPLETED => {
                state["status"] = argument["status"].clone();
                state["progress"] = 100.into();
            }
            FAILED => {
                for field in ["status", "cause", "failures"] {
                    state[field] = argument[field].clone();
                }
            }
            _ => {}
        }
    }

    /// Compares with the state that the API returns.
    #[track_caller]
    pub fn assert_matches(&self, state: &Value) {
        for field in ["status", "stage", "progress", "nodes", "cause", "failures"] {
            assert_eq!(self.0[field], state[field], "{field}");
        }
    }
}
