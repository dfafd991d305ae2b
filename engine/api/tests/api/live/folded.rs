use serde_json::{Value, json};

use super::hub::{COMPLETED, FAILED, NODES, PROGRESS, STATUS, Told};

/// What a client makes of a deployment, by what it is told.
pub struct Folded(pub Value);

impl Folded {
    /// Nothing has been told yet.
    pub fn new() -> Self {
        Self(json!({"nodes": [], "failures": []}))
    }

    /// All of these, from the beginning.
    pub fn of(told: &[Told]) -> Self {
        let mut folded = Self::new();
        told.iter().for_each(|told| folded.take(told));
        folded
    }

    pub fn take(&mut self, told: &Told) {
        let (state, of) = (&mut self.0, &told.argument);
        match &*told.target {
            STATUS => state["status"] = of["status"].clone(),
            PROGRESS => {
                state["stage"] = of["stage"].clone();
                state["progress"] = of["progress"].clone();
            }
            NODES => {
                let nodes = state["nodes"].as_array_mut().unwrap();
                for changed in of["nodes"].as_array().unwrap() {
                    nodes.retain(|node| node["id"] != changed["id"]);
                    nodes.push(changed.clone());
                }
                nodes.sort_by_key(|node| node["id"].to_string());
            }
            COMPLETED => {
                state["status"] = of["status"].clone();
                state["progress"] = 100.into();
            }
            FAILED => {
                for field in ["status", "cause", "failures"] {
                    state[field] = of[field].clone();
                }
            }
            _ => {}
        }
    }

    /// Must come to what the API says.
    #[track_caller]
    pub fn is(&self, state: &Value) {
        for field in ["status", "stage", "progress", "nodes", "cause", "failures"] {
            assert_eq!(self.0[field], state[field], "{field}");
        }
    }
}
