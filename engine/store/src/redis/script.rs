//! The scripts. The server runs each as a whole, and nothing else meanwhile.

use std::sync::LazyLock;

/// A script, and the hash by which the server knows it.
pub(super) struct Script {
    pub(super) source: String,
    pub(super) hash: String,
}

impl Script {
    fn new(body: &str) -> Self {
        let source = format!("{}\n{body}", include_str!("lua/prelude.lua"));
        let hash = redis::Script::new(&source).get_hash().to_owned();
        Self { source, hash }
    }
}

macro_rules! scripts {
    ($($name:ident $file:literal;)*) => {
        $(
            pub(super) static $name: LazyLock<Script> =
                LazyLock::new(|| Script::new(include_str!(concat!("lua/", $file, ".lua"))));
        )*

        #[cfg(test)]
        static ALL: &[&LazyLock<Script>] = &[$(&$name),*];
    };
}

scripts! {
    ACQUIRE_ENVIRONMENT_LEASE "acquire_environment_lease";
    ACQUIRE_LEASE "acquire_lease";
    APPEND "append";
    APPEND_TO_ENVIRONMENT "append_to_environment";
    BLOB "blob";
    CONTENTS "contents";
    CREATE "create";
    DECIDED_ENVIRONMENTS "decided_environments";
    DECISIONS "decisions";
    DELETE "delete";
    DELETE_ENVIRONMENT_EVENTS "delete_environment_events";
    ENGINES "engines";
    ENVIRONMENT_EVENTS "environment_events";
    EVENTS "events";
    EVENTS_AFTER "events_after";
    GIVE_BACK_ENVIRONMENT "give_back_environment";
    IMPORT "import";
    KEPT_EVENTS "kept_events";
    LIST "list";
    LOOKUP "lookup";
    META "meta";
    MODULES "modules";
    OPEN_LIST "open_list";
    OPEN_STORE "open_store";
    OWN_LEASES "own_leases";
    PASS_ON_ENVIRONMENT "pass_on_environment";
    PAST_DECISIONS "past_decisions";
    PUT "put";
    PUT_NODE "put_node";
    PUT_SNAPSHOT "put_snapshot";
    RAISE_FENCE "raise_fence";
    RECORD "record";
    RELEASE_LEASE "release_lease";
    REMOVE "remove";
    SESSION "session";
    SNAPSHOTS "snapshots";
    STRATEGIES "strategies";
    SUPERSEDED "superseded";
    UNDRIVEN "undriven";
    USAGE "usage";
    VALUES "values";
    WITNESS "witness";
    WITHOUT_SNAPSHOT "without_snapshot";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_script_has_its_own_hash() {
        let hashes: std::collections::BTreeSet<_> = ALL.iter().map(|one| &one.hash).collect();
        assert_eq!(hashes.len(), ALL.len());
    }
}
