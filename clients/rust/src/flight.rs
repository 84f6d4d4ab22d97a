//! The requests of one stream that have no answer yet.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::Error;
use crate::retry::retry_after;

/// The bound of the bytes of the requests in flight, which are kept to be sent again. One request alone
/// may be larger.
const MAX_BYTES: usize = 16 << 20;

/// A request that has no answer yet.
pub(crate) struct Entry<M> {
    /// The caller's own name for it.
    pub(crate) name: String,
    pub(crate) message: M,
    pub(crate) bytes: usize,
    attempts: u32,
    /// When it is sent again; `None` while the server has it.
    due: Option<Instant>,
}

/// The requests of one stream that have no answer yet, by their number: those that the server has, and
/// those that it shed and that are sent again when they are due. It bounds them, so that a server that
/// sheds load slows its clients down instead of growing their memory.
pub(crate) struct Flight<M> {
    entries: BTreeMap<u64, Entry<M>>,
    bytes: usize,
    bound: usize,
}

/// What an answer means for its request.
pub(crate) enum Settled {
    /// The caller gets it, under this name.
    Answered(String),
    /// The request is sent again.
    Again,
    /// Nothing of this number is with the server.
    Unknown,
}

impl<M> Entry<M> {
    pub(crate) fn new(name: String, message: M, bytes: usize) -> Self {
        Self { name, message, bytes, attempts: 1, due: None }
    }
}

impl<M: Clone> Flight<M> {
    pub(crate) fn new(bound: usize) -> Self {
        Self { entries: BTreeMap::new(), bytes: 0, bound }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn bound(&self) -> usize {
        self.bound
    }

    /// Whether a request of so many bytes may be added.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        self.entries.is_empty() || self.entries.len() < self.bound && self.bytes + bytes <= MAX_BYTES
    }

    pub(crate) fn add(&mut self, number: u64, entry: Entry<M>) {
        self.bytes += entry.bytes;
        self.entries.insert(number, entry);
    }

    /// Takes an answer, whose error is `None` where it is a good one. A request that would have to wait
    /// until `limit` or longer to be sent again is answered with its error instead.
    pub(crate) fn settle(
        &mut self,
        number: u64,
        error: Option<&Error>,
        now: Instant,
        limit: Instant,
    ) -> Settled {
        let Some(entry) = self.entries.get_mut(&number).filter(|entry| entry.due.is_none()) else {
            return Settled::Unknown;
        };
        let due = error.and_then(|error| retry_after(error, entry.attempts)).map(|wait| now + wait);
        if let Some(due) = due.filter(|due| *due < limit) {
            entry.due = Some(due);
            return Settled::Again;
        }
        let Some(entry) = self.entries.remove(&number) else { return Settled::Unknown };
        self.bytes -= entry.bytes;
        Settled::Answered(entry.name)
    }

    /// A message that is due to be sent again, if there is one.
    pub(crate) fn again(&mut self, now: Instant) -> Option<M> {
        let entry = self.entries.values_mut().find(|entry| entry.due.is_some_and(|due| due <= now))?;
        entry.due = None;
        entry.attempts += 1;
        Some(entry.message.clone())
    }

    /// When the next message is due to be sent again.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.entries.values().filter_map(|entry| entry.due).min()
    }

    /// The messages that the server had, for a new stream in place of one that broke.
    pub(crate) fn all_sent(&self) -> impl Iterator<Item = M> + '_ {
        self.entries.values().filter(|entry| entry.due.is_none()).map(|entry| entry.message.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::Code;

    use super::*;

    fn flight(bound: usize, sizes: &[usize]) -> Flight<&'static str> {
        let mut made = Flight::new(bound);
        for (number, bytes) in sizes.iter().enumerate() {
            made.add(number as u64, Entry::new(format!("request {number}"), "message", *bytes));
        }
        made
    }

    #[test]
    fn room_ends_at_the_bound_of_requests_and_of_bytes() {
        assert!(flight(2, &[1]).fits(1));
        assert!(!flight(2, &[1, 1]).fits(1));
        assert!(!flight(8, &[MAX_BYTES]).fits(1));
        assert!(flight(8, &[]).fits(2 * MAX_BYTES));
    }

    #[test]
    fn answer_makes_room_and_has_the_callers_name() {
        let mut one = flight(1, &[5]);
        let now = Instant::now();
        let settled = one.settle(0, None, now, now);
        assert!(matches!(settled, Settled::Answered(name) if name == "request 0"));
        assert!(one.fits(MAX_BYTES));
    }

    #[test]
    fn answer_to_what_the_server_does_not_have_is_unknown() {
        let mut one = flight(1, &[5]);
        let now = Instant::now();
        assert!(matches!(one.settle(7, None, now, now), Settled::Unknown));
    }

    #[test]
    fn shed_request_is_sent_again_when_it_is_due_and_four_times_in_all() {
        let mut one = flight(1, &[5]);
        let full = Error::new(Code::ResourceExhausted, "full");
        let mut now = Instant::now();
        let limit = now + Duration::from_secs(60);
        for _ in 0..3 {
            assert!(matches!(one.settle(0, Some(&full), now, limit), Settled::Again));
            assert!(one.again(now).is_none());
            assert!(matches!(one.settle(0, None, now, limit), Settled::Unknown));
            now = one.next_due().unwrap();
            assert_eq!(Some("message"), one.again(now));
            assert_eq!(None, one.next_due());
        }
        assert!(matches!(one.settle(0, Some(&full), now, limit), Settled::Answered(_)));
    }

    #[test]
    fn shed_request_that_would_wait_past_the_limit_is_answered() {
        let mut one = flight(1, &[5]);
        let full = Error::new(Code::ResourceExhausted, "full");
        let now = Instant::now();
        assert!(matches!(one.settle(0, Some(&full), now, now), Settled::Answered(_)));
    }
}
