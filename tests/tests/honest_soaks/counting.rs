//! Each request is counted once, of the version that answered it.

use anyhow::Result;
use hotswap_core::{Judgement, Status};
use hotswap_tests::LoadReport;
use serde_json::json;

use super::{answer, canary, cluster, data_url, direct, finding, load, verdicts};

/// A release candidate became the release, with the same bytes: what the old side did before is
/// not counted again at every reading.
#[tokio::test(flavor = "multi_thread")]
async fn counted_requests_never_exceed_those_sent() -> Result<()> {
    let (old, new) = (hotswap_guests::HELLO_V1, hotswap_guests::HELLO_V2);
    let cluster = cluster(2, &[("1.0.0-rc.1", old), ("1.0.0", old), ("2.0.0", new)]).await?;
    direct(&cluster, "1.0.0-rc.1").await?;
    answer(&cluster, 300).await?;
    direct(&cluster, "1.0.0").await?;
    let before = answer(&cluster, 300).await?;
    let load = load(&cluster);
    let config = json!({ "steps": [50, 100], "soak": "3s" });
    let state = canary(&cluster, "2.0.0", config).await?;
    let report = load.stop().await;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    let verdicts = verdicts(&cluster, state.header.id).await?;
    let compared = finding(&verdicts[0], "error-rate")?;
    let sent = |version: &str| report.answers_by_version.get(version).copied().unwrap_or(0);
    assert!(compared.baseline_samples > 0, "{compared:?}");
    assert!(
        compared.baseline_samples <= sent("1.0.0"),
        "{compared:?}: {report:?}"
    );
    assert!(
        compared.canary_samples <= sent("2.0.0"),
        "{compared:?}: {report:?}"
    );
    // The last step is compared with all that the previous version did, and not with the release
    // candidate.
    let last = finding(&verdicts[1], "error-rate")?;
    assert!(
        last.baseline_samples <= before + sent("1.0.0"),
        "{last:?}: {report:?}"
    );
    cluster.shutdown().await;
    Ok(())
}

/// The errors of the release candidate are not counted for the release, so a version that fails a
/// tenth of its requests is not taken to be as good.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_version_fails_after_a_release_candidate_became_the_release() -> Result<()> {
    let (old, bad) = (hotswap_guests::MODULE_PROBE, hotswap_guests::HELLO_V3);
    let cluster = cluster(2, &[("1.0.0-rc.1", old), ("1.0.0", old), ("3.0.0", bad)]).await?;
    direct(&cluster, "1.0.0-rc.1").await?;
    answer(&cluster, 300).await?;
    let client = reqwest::Client::new();
    for node in cluster.nodes.keys() {
        for _ in 0..60 {
            let failing = format!("{}/status/500", data_url(&cluster, node)?);
            client.get(failing).send().await?;
        }
    }
    direct(&cluster, "1.0.0").await?;
    answer(&cluster, 300).await?;
    let load = load(&cluster);
    let config = json!({ "steps": [50, 100], "soak": "30s" });
    let state = canary(&cluster, "3.0.0", config).await?;
    let report = load.stop().await;
    assert_eq!(state.status(), Status::RolledBack, "{:?}", state.cause);
    let verdicts = verdicts(&cluster, state.header.id).await?;
    let errors = finding(&verdicts[0], "error-rate")?;
    assert_eq!(errors.judgement, Judgement::Fail, "{errors:?}");
    assert_eq!(errors.baseline, Some(0.0), "{errors:?}");
    assert!(
        errors.canary_samples <= sent(&report, "3.0.0"),
        "{errors:?}: {report:?}"
    );
    assert!(
        errors.baseline_samples <= sent(&report, "1.0.0"),
        "{errors:?}: {report:?}"
    );
    cluster.shutdown().await;
    Ok(())
}

/// The requests that a version answered, or failed.
fn sent(report: &LoadReport, version: &str) -> u64 {
    let answered = report.answers_by_version.get(version).copied();
    let of_version = |error: &&String| error.ends_with(&format!(" from {version}"));
    let failed = report.errors.keys().filter(of_version);
    let failed = failed.map(|error| report.errors[error]);
    answered.unwrap_or(0) + failed.sum::<u64>()
}
