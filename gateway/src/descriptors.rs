//! The limit of open files, which is the limit of connections.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// More than the gateway can use; systems refuse to set "no limit".
const ENOUGH: u64 = 65_536;

/// Raises the soft limit, often 1024 or 256, to what the system allows. Without it a crowd of sockets
/// keeps the owner out before their number is bounded by anything else. A failure is only logged.
pub(crate) fn raise_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let wanted = hard.min(ENOUGH);
        if soft < wanted {
            setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
        }
        Ok(soft.max(wanted))
    });
    match raised {
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn afterwards_the_process_may_have_as_many_files_as_the_system_allows() {
        raise_limit();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert!(soft >= hard.min(ENOUGH), "{soft} of {hard}");
    }
}
