//! Series at which each alert fires, and series at which it does not.

/// A series of each pod: its name, its labels, and its values as `promtool` has them.
pub type Series = (&'static str, &'static str, &'static str);

/// An alert, series just above its threshold, the minute at which it fires at the earliest, and series
/// just below the threshold.
pub struct Case {
    /// Its name.
    pub alert: &'static str,
    /// Since the beginning of the series: when the condition holds, and the time for which it must.
    pub fires_at: u16,
    /// Just above.
    pub firing: &'static [Series],
    /// Just below.
    pub quiet: &'static [Series],
}

/// Each alert, once or more.
pub const CASES: &[Case] = &[
    Case {
        alert: "HotSwapEngineDown",
        fires_at: 5,
        firing: &[("hotswap_nodes", "", "1x300")],
        quiet: &[("hotswap_deployments_damaged", "", "0x300")],
    },
    Case {
        alert: "HotSwapDeploymentDamaged",
        fires_at: 1,
        firing: &[("hotswap_deployments_damaged", "", "1x300")],
        quiet: &[("hotswap_deployments_damaged", "", "0x300")],
    },
    Case {
        alert: "HotSwapDiskFull",
        fires_at: 1,
        firing: &[("hotswap_disk_full", "", "1x300")],
        quiet: &[("hotswap_disk_full", "", "0x300")],
    },
    // 512 MiB.
    Case {
        alert: "HotSwapDiskFillsUp",
        fires_at: 30,
        firing: &[
            ("hotswap_disk_bytes", ",kind=\"free\"", "536870911x300"),
            ("hotswap_disk_bytes", ",kind=\"database\"", "9000000000x300"),
        ],
        quiet: &[
            ("hotswap_disk_bytes", ",kind=\"free\"", "536870912x300"),
            ("hotswap_disk_bytes", ",kind=\"database\"", "1000x300"),
        ],
    },
    Case {
        alert: "HotSwapNodesCritical",
        fires_at: 5,
        firing: &[(
            "hotswap_nodes",
            ",environment=\"qa\",health=\"critical\"",
            "1x300",
        )],
        quiet: &[
            (
                "hotswap_nodes",
                ",environment=\"qa\",health=\"critical\"",
                "0x300",
            ),
            (
                "hotswap_nodes",
                ",environment=\"qa\",health=\"passing\"",
                "9x300",
            ),
        ],
    },
    // One, after an hour.
    Case {
        alert: "HotSwapDeploymentFailed",
        fires_at: 61,
        firing: &[(ENDED, ",outcome=\"failed\"", "3x60 4x240")],
        quiet: &[(ENDED, ",outcome=\"failed\"", "3x300")],
    },
    Case {
        alert: "HotSwapDeploymentRolledBack",
        fires_at: 61,
        firing: &[(ENDED, ",outcome=\"rolledBack\"", "3x60 4x240")],
        quiet: &[
            (ENDED, ",outcome=\"rolledBack\"", "3x300"),
            (ENDED, ",outcome=\"failed\"", "3x60 4x240"),
        ],
    },
    // Four hours.
    Case {
        alert: "HotSwapApprovalWaits",
        fires_at: 1,
        firing: &[(WAIT, "", "14401x300")],
        quiet: &[
            (WAIT, "", "14400x300"),
            (
                "hotswap_deployments_open",
                ",status=\"awaitingApproval\"",
                "9x300",
            ),
        ],
    },
    Case {
        alert: "HotSwapSourceStale",
        fires_at: 10,
        firing: &[(SOURCE, ",source=\"consul\",condition=\"stale\"", "1x300")],
        quiet: &[
            (SOURCE, ",source=\"consul\",condition=\"stale\"", "0x300"),
            (SOURCE, ",source=\"consul\",condition=\"healthy\"", "1x300"),
        ],
    },
    Case {
        alert: "HotSwapSourceStale",
        fires_at: 10,
        firing: &[(SOURCE, ",source=\"consul\",condition=\"held\"", "1x300")],
        quiet: &[
            (SOURCE, ",source=\"consul\",condition=\"held\"", "0x300"),
            (SOURCE, ",source=\"consul\",condition=\"healthy\"", "1x300"),
        ],
    },
    // A rate needs two readings, so it is known from the first minute on. 5.1 % and 4.9 %.
    Case {
        alert: "HotSwapApiErrors",
        fires_at: 11,
        firing: &[
            (REQUESTS, ",status=\"200\"", "0+949x300"),
            (REQUESTS, ",status=\"503\"", "0+51x300"),
        ],
        quiet: &[
            (REQUESTS, ",status=\"200\"", "0+900x300"),
            (REQUESTS, ",status=\"404\"", "0+51x300"),
            (REQUESTS, ",status=\"503\"", "0+49x300"),
        ],
    },
    Case {
        alert: "HotSwapReconcilerLags",
        fires_at: 10,
        firing: &[("hotswap_reconciler_lag_seconds", "", "601x300")],
        quiet: &[("hotswap_reconciler_lag_seconds", "", "600x300")],
    },
    // 5.4 and 4.95 in a quarter of an hour, of three engines.
    Case {
        alert: "HotSwapNodeOperationsFail",
        fires_at: 24,
        firing: &[(FAILURES, ",operation=\"stage\"", "9+0.12x300")],
        quiet: &[(FAILURES, ",operation=\"stage\"", "9+0.11x300")],
    },
    // 1.1 % and 0.9 % take longer than a second.
    Case {
        alert: "HotSwapAppendsSlow",
        fires_at: 11,
        firing: &[
            (APPENDS, ",le=\"1.0\"", "0+989x300"),
            (APPENDS, ",le=\"10.0\"", "0+1000x300"),
            (APPENDS, ",le=\"+Inf\"", "0+1000x300"),
        ],
        quiet: &[
            (APPENDS, ",le=\"1.0\"", "0+991x300"),
            (APPENDS, ",le=\"10.0\"", "0+1000x300"),
            (APPENDS, ",le=\"+Inf\"", "0+1000x300"),
        ],
    },
    // At once.
    Case {
        alert: "HotSwapWritesLost",
        fires_at: 10,
        firing: &[("hotswap_store_lost_writes", "", "0x9 1x290")],
        quiet: &[("hotswap_store_lost_writes", "", "0x300")],
    },
    Case {
        alert: "HotSwapStoreNotDurable",
        fires_at: 1,
        firing: &[("hotswap_store_durable", "", "0x300")],
        quiet: &[("hotswap_store_durable", "", "1x300")],
    },
    Case {
        alert: "HotSwapEngineFallsBehind",
        fires_at: 2,
        firing: &[("hotswap_store_tail_lag_seconds", "", "31x300")],
        quiet: &[("hotswap_store_tail_lag_seconds", "", "30x300")],
    },
    Case {
        alert: "HotSwapSpansLost",
        fires_at: 16,
        firing: &[(
            "hotswap_trace_spans_total",
            ",outcome=\"dropped\"",
            "9+1x300",
        )],
        quiet: &[
            ("hotswap_trace_spans_total", ",outcome=\"dropped\"", "9x300"),
            (
                "hotswap_trace_spans_total",
                ",outcome=\"exported\"",
                "0+9x300",
            ),
        ],
    },
    Case {
        alert: "HotSwapSpansLost",
        fires_at: 16,
        firing: &[(
            "hotswap_trace_spans_total",
            ",outcome=\"failed\"",
            "9+1x300",
        )],
        quiet: &[
            ("hotswap_trace_spans_total", ",outcome=\"failed\"", "9x300"),
            (
                "hotswap_trace_spans_total",
                ",outcome=\"exported\"",
                "0+9x300",
            ),
        ],
    },
    Case {
        alert: "HotSwapMetricPointsLost",
        fires_at: 16,
        firing: &[(
            "hotswap_metric_points_total",
            ",outcome=\"failed\"",
            "9+1x300",
        )],
        quiet: &[
            (
                "hotswap_metric_points_total",
                ",outcome=\"failed\"",
                "9x300",
            ),
            (
                "hotswap_metric_points_total",
                ",outcome=\"exported\"",
                "0+9x300",
            ),
        ],
    },
    Case {
        alert: "HotSwapSpansLost",
        fires_at: 16,
        firing: &[(
            "hotswap_node_trace_spans_total",
            ",outcome=\"dropped\"",
            "9+1x300",
        )],
        quiet: &[
            (
                "hotswap_node_trace_spans_total",
                ",outcome=\"dropped\"",
                "9x300",
            ),
            (
                "hotswap_node_trace_spans_total",
                ",outcome=\"exported\"",
                "0+9x300",
            ),
        ],
    },
    Case {
        alert: "HotSwapSpansLost",
        fires_at: 16,
        firing: &[(
            "hotswap_node_trace_spans_total",
            ",outcome=\"failed\"",
            "9+1x300",
        )],
        quiet: &[
            (
                "hotswap_node_trace_spans_total",
                ",outcome=\"failed\"",
                "9x300",
            ),
            (
                "hotswap_node_trace_spans_total",
                ",outcome=\"exported\"",
                "0+9x300",
            ),
        ],
    },
    Case {
        alert: "HotSwapMetricPointsLost",
        fires_at: 16,
        firing: &[(
            "hotswap_node_metric_points_total",
            ",outcome=\"failed\"",
            "9+1x300",
        )],
        quiet: &[
            (
                "hotswap_node_metric_points_total",
                ",outcome=\"failed\"",
                "9x300",
            ),
            (
                "hotswap_node_metric_points_total",
                ",outcome=\"exported\"",
                "0+9x300",
            ),
        ],
    },
    Case {
        alert: "HotSwapModuleErrors",
        fires_at: 6,
        firing: &[
            ("hotswap_node_requests_total", OF_MODULE, "0+1000x300"),
            ("hotswap_node_errors_total", OF_MODULE, "0+51x300"),
        ],
        quiet: &[
            ("hotswap_node_requests_total", OF_MODULE, "0+1000x300"),
            ("hotswap_node_errors_total", OF_MODULE, "0+49x300"),
        ],
    },
    // Every request fails in `qa`, and they are few beside those of `production`.
    Case {
        alert: "HotSwapModuleErrors",
        fires_at: 6,
        firing: &[
            ("hotswap_node_requests_total", IN_PRODUCTION, "0+99x300"),
            ("hotswap_node_errors_total", IN_PRODUCTION, "0x300"),
            ("hotswap_node_requests_total", IN_QA, "0+1x300"),
            ("hotswap_node_errors_total", IN_QA, "0+1x300"),
        ],
        quiet: &[
            ("hotswap_node_requests_total", IN_PRODUCTION, "0+99x300"),
            ("hotswap_node_errors_total", IN_PRODUCTION, "0+1x300"),
            ("hotswap_node_requests_total", IN_QA, "0+99x300"),
            ("hotswap_node_errors_total", IN_QA, "0+1x300"),
        ],
    },
];

const ENDED: &str = "hotswap_deployments_ended_total";
const WAIT: &str = "hotswap_deployments_longest_approval_wait_seconds";
const SOURCE: &str = "hotswap_discovery_source_condition";
const REQUESTS: &str = "hotswap_http_requests_total";
const FAILURES: &str = "hotswap_node_operation_failures_total";
const APPENDS: &str = "hotswap_journal_append_duration_seconds_bucket";
const OF_MODULE: &str = ",module=\"hello\",version=\"2.0.0\"";
const IN_PRODUCTION: &str = ",environment=\"production\",module=\"hello\",version=\"2.0.0\"";
const IN_QA: &str = ",environment=\"qa\",module=\"hello\",version=\"2.0.0\"";
