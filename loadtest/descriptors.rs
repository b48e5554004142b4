//! The limit of open descriptors, which a crowd outgrows: every session has a socket of its own.

use anyhow::ensure;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises this process's limit, so that so many sessions at once have a descriptor each, and HTTP has some.
///
/// # Errors
/// When the system does not allow so many.
pub(crate) fn raise(sessions: u64) -> anyhow::Result<()> {
    let wanted = sessions.saturating_add(SPARE);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft >= wanted {
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted))
        .or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, hard, hard))?;
    ensure!(
        getrlimit(Resource::RLIMIT_NOFILE)?.0 >= wanted,
        "{sessions} sockets need {wanted} descriptors, and the limit is {hard}; a good value is: ulimit -n {wanted}"
    );
    Ok(())
}

const SPARE: u64 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_descriptors_is_raised_for_few_and_refused_for_impossibly_many() {
        assert!(raise(1).is_ok());
        assert!(raise(u64::MAX / 2).is_err());
    }
}
