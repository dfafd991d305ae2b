//! Who may have a node's id.

use super::node_entry::NodeEntry;

/// Who registers under an id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claimant<'a> {
    /// The random id of its start.
    pub(super) boot: Option<&'a str>,
    /// The key of its data folder.
    pub(super) instance: Option<&'a str>,
}

/// Whether a claimant gets an id that `holder` has. `is_reporting`: the holder still reports
/// in.
///
/// The same data folder means that the holder was restarted, unless the holder had been
/// replaced by another start of its folder before: then two nodes run on copies of one folder.
pub(super) fn may_take(holder: &NodeEntry, claimant: Claimant<'_>, is_reporting: bool) -> bool {
    let is_same_start = claimant.boot.is_some() && claimant.boot == holder.boot.as_deref();
    if is_same_start || !is_reporting {
        return true;
    }
    let was_replaced = |boot: &str| holder.replaced_boots.iter().any(|known| known == boot);
    if claimant.boot.is_some_and(was_replaced) {
        return false;
    }
    match &holder.record.instance {
        // A node of an earlier version, which cannot be told from another.
        None => true,
        Some(instance) => claimant.instance == Some(instance),
    }
}
