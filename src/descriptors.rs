//! The limit of open descriptors: every TCP socket takes one, and shells and service managers start a process with 1,024.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit so that `wanted` descriptors may be open, as far as the hard limit lets it, and warns when
/// that is not enough.
pub(crate) fn provide(wanted: u64) {
    match raise(wanted) {
        Ok(limit) if limit >= wanted => {}
        Ok(limit) => tracing::warn!(
            limit,
            wanted,
            "limit of descriptors is too low for all sockets that may be open, at the limit new ones wait: raise it (systemd: LimitNOFILE, shell: ulimit -Hn), or lower http.sockets_max"
        ),
        Err(error) => tracing::warn!(
            %error,
            wanted,
            "limit of descriptors was not raised: raise it before the start (systemd: LimitNOFILE, shell: ulimit -n)"
        ),
    }
}

/// Returns the limit that is in effect then. A soft limit that is high enough stays as it is.
fn raise(wanted: u64) -> nix::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let possible = wanted.min(hard);
    if soft >= possible {
        return Ok(soft);
    }
    setrlimit(Resource::RLIMIT_NOFILE, possible, hard)?;
    Ok(possible)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one_and_never_lowered() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();

        assert_eq!(raise(u64::MAX), Ok(hard));
        assert_eq!(raise(1), Ok(hard));
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE), Ok((hard, hard)));
    }
}
