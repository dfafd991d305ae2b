use anyhow::Result;
use hotswap_core::DeploymentId;
use serde_json::Value;

use super::Context;
use crate::client::{RequestDiff, RequestDifference};
use crate::exit::Exit;
use crate::format;
use crate::output::print_message;

/// Shows how the request for a deployment differs from another one.
pub(super) async fn diff(
    id: DeploymentId,
    with: Option<DeploymentId>,
    context: &Context,
) -> Result<Exit> {
    let response = context.client.diff(id, with).await?;
    if context.out.json {
        context.out.json(&response)?;
        return Ok(Exit::Success);
    }
    let RequestDiff { with, differences } = serde_json::from_value(response)?;
    if differences.is_empty() {
        print_message(&format!("it asks for the same as deployment {with}"));
        return Ok(Exit::Success);
    }
    print_message(&format!("compared with deployment {with}:"));
    let rows: Vec<_> = differences.into_iter().map(row).collect();
    context.out.table(["WHAT", "BEFORE", "NOW"], &rows)?;
    Ok(Exit::Success)
}

fn row(difference: RequestDifference) -> [String; 3] {
    [
        format::sanitize(&difference.path),
        describe(difference.before.as_ref()),
        describe(difference.after.as_ref()),
    ]
}

/// A value as people read it: texts without quotes, nothing as a dash.
fn describe(value: Option<&Value>) -> String {
    match value {
        None => "-".to_owned(),
        Some(Value::String(text)) => format::sanitize(text),
        Some(other) => format::sanitize(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_is_told_as_people_read_it() {
        let difference = RequestDifference {
            path: "config.steps".to_owned(),
            before: None,
            after: Some(json!([10, 50])),
        };
        assert_eq!(row(difference), ["config.steps", "-", "[10,50]"]);
        assert_eq!(describe(Some(&json!("canary\u{1b}"))), "canary\u{fffd}");
    }
}
