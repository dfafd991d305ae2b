use tokio::task::futures::TaskLocalFuture;

use super::TraceContext;

tokio::task_local! {
    static CURRENT: Option<TraceContext>;
}

/// The context in which the caller runs, as the innermost [`within`] says.
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(|current| *current).ok().flatten()
}

/// Runs a future in a context. A task that it spawns does not inherit the context.
pub fn within<F: Future>(
    context: Option<TraceContext>,
    future: F,
) -> TaskLocalFuture<Option<TraceContext>, F> {
    CURRENT.scope(context, future)
}

/// The same, for what does not wait.
pub fn within_sync<T>(context: Option<TraceContext>, work: impl FnOnce() -> T) -> T {
    CURRENT.sync_scope(context, work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_runs_within_a_context_finds_it() {
        assert_eq!(current(), None);
        let context = Some(TraceContext::new_root(|_| true));
        let found = within(context, async {
            let outer = current();
            let inner = within_sync(None, current);
            (outer, inner, current())
        });
        assert_eq!(found.await, (context, None, context));
        assert_eq!(current(), None);
    }
}
