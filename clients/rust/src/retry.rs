//! Which failures are retried, and when.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tonic::Code;

use crate::Error;

/// The most attempts of one request, the first included.
pub(crate) const MAX_ATTEMPTS: u32 = 4;
const INITIAL_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(2);
/// The fraction of a back-off by which chance makes it longer or shorter.
const JITTER: f64 = 0.2;

/// The wait before a request is sent again whose attempt number `attempt`, from 1, failed; `None`
/// where it is not sent again. The server's own delay takes the place of the back-off.
pub(crate) fn retry_after(error: &Error, attempt: u32) -> Option<Duration> {
    let retryable = matches!(error.code(), Code::Unavailable | Code::ResourceExhausted);
    if !retryable || error.is_final_refusal() || attempt >= MAX_ATTEMPTS {
        return None;
    }
    Some(error.retry_after().unwrap_or_else(|| backoff(attempt)))
}

/// The wait after so many failures in a row, from 1: exponential, bounded, with jitter.
pub(crate) fn backoff(failures: u32) -> Duration {
    let doubled = INITIAL_BACKOFF.saturating_mul(1 << (failures - 1).min(16));
    doubled.min(MAX_BACKOFF).mul_f64(1.0 + JITTER * (2.0 * fastrand::f64() - 1.0))
}

/// The share of retries among a client's calls, as gRPC bounds it (gRFC A6, retryThrottling): each
/// `Unavailable` costs a token, each answer gives a tenth back, and at half of the tokens or fewer
/// nothing is retried.
pub(crate) struct Throttle(AtomicU32);

/// In tenths of a token.
const MAX_TOKENS: u32 = 1000;
const FAILURE: u32 = 10;
const SUCCESS: u32 = 1;

impl Throttle {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(MAX_TOKENS))
    }

    pub(crate) fn succeeded(&self) {
        self.change(|tokens| (tokens + SUCCESS).min(MAX_TOKENS));
    }

    /// Counts a failure and tells whether it may be retried.
    pub(crate) fn failed(&self, error: &Error) -> bool {
        if error.code() == Code::Unavailable {
            self.change(|tokens| tokens.saturating_sub(FAILURE));
        }
        error.code() != Code::Unavailable || self.0.load(Ordering::Relaxed) > MAX_TOKENS / 2
    }

    fn change(&self, change: impl Fn(u32) -> u32) {
        // It never fails: the closure always gives a value.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tokens| Some(change(tokens)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overload_and_outage_are_retried_and_nothing_else() {
        for code in (1..=16).map(Code::from_i32) {
            let expected = matches!(code, Code::Unavailable | Code::ResourceExhausted);
            assert_eq!(expected, retry_after(&Error::new(code, "no"), 1).is_some(), "{code:?}");
        }
    }

    #[test]
    fn fourth_attempt_is_the_last() {
        let full = Error::new(Code::ResourceExhausted, "full");
        assert!(retry_after(&full, 3).is_some());
        assert!(retry_after(&full, 4).is_none());
    }

    #[test]
    fn backoff_doubles_up_to_two_seconds_within_its_jitter() {
        for (failures, seconds) in [(1, 0.1), (2, 0.2), (3, 0.4), (6, 2.0), (4_000_000, 2.0)] {
            for _ in 0..100 {
                let wait = backoff(failures).as_secs_f64();
                assert!((0.8 * seconds - 1e-9..=1.2 * seconds + 1e-9).contains(&wait), "{wait}");
            }
        }
    }

    #[test]
    fn throttle_stops_retries_where_most_calls_fail_and_opens_again() {
        let throttle = Throttle::new();
        let down = Error::new(Code::Unavailable, "down");
        let retried = (0..100).filter(|_| throttle.failed(&down)).count();
        assert_eq!(49, retried);
        assert!(throttle.failed(&Error::new(Code::ResourceExhausted, "full")));
        (0..600).for_each(|_| throttle.succeeded());
        assert!(throttle.failed(&down));
    }
}
