package semserve

import (
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// DefaultInFlight is the most requests of one stream that have no answer yet, unless [WithInFlight]
// says otherwise.
const DefaultInFlight = 8

// maxFlightBytes bounds the requests of one stream that have no answer yet, which are kept to be sent
// again. One request alone may be larger.
const maxFlightBytes = 16 << 20

// entry is a request of a stream that has no answer yet.
type entry[Sent any] struct {
	number   int    // its place among the stream's requests
	name     string // the caller's own
	message  *Sent
	bytes    int
	attempts int
	due      time.Time // when it is sent, for the first time or again; zero while the server has it
}

// flight holds the requests of one stream that have no answer yet, by their ID on the wire: those that
// the server has, and those that are sent when they are due: new ones, those that it shed, and those
// that it had when it went away. It bounds them, so that a server that sheds load slows its clients
// down instead of growing their memory.
type flight[Sent any] struct {
	mutex     sync.Mutex
	entries   map[string]*entry[Sent]
	bytes     int
	bound     int
	exhausted bool          // whether the caller has no more requests
	room      chan struct{} // a request was answered; capacity 1
	changed   chan struct{} // a request was added, answered or shed, or there are no more; capacity 1
}

func newFlight[Sent any](bound int) *flight[Sent] {
	return &flight[Sent]{
		entries: map[string]*entry[Sent]{}, bound: bound,
		room: make(chan struct{}, 1), changed: make(chan struct{}, 1),
	}
}

// fits tells whether a request of so many bytes may be added.
func (f *flight[Sent]) fits(bytes int) bool {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return len(f.entries) == 0 || len(f.entries) < f.bound && f.bytes+bytes <= maxFlightBytes
}

// add takes a new request in, to be sent at once.
func (f *flight[Sent]) add(id string, added *entry[Sent]) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	added.due = time.Now()
	f.entries[id] = added
	f.bytes += added.bytes
	notify(f.changed)
}

// lose makes the requests that the server had due again, because it went away.
func (f *flight[Sent]) lose(now time.Time) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for _, lost := range f.entries {
		if lost.due.IsZero() {
			lost.due = now
			lost.attempts--
		}
	}
	notify(f.changed)
}

// exhaust notes that the caller has no more requests.
func (f *flight[Sent]) exhaust() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.exhausted = true
	notify(f.changed)
}

// settle takes an answer, whose error is nil where it is a good one. It gives the caller's name of the
// request, and false where the request is sent again instead; an error where it was not sent.
func (f *flight[Sent]) settle(id string, failed error, now time.Time) (string, bool, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	settled := f.entries[id]
	if settled == nil || !settled.due.IsZero() {
		return "", false, typed(status.Errorf(codes.Internal, "the server answered %q, which was not asked", id))
	}
	if wait, again := retryAfter(failed, settled.attempts, true); again {
		settled.due = now.Add(wait)
		notify(f.changed)
		return "", false, nil
	}
	delete(f.entries, id)
	f.bytes -= settled.bytes
	notify(f.room)
	notify(f.changed)
	return settled.name, true, nil
}

// next gives the message that is due to be sent, of several the oldest, or nil and the time until one
// will be; a negative time where none waits.
func (f *flight[Sent]) next(now time.Time) (*Sent, time.Duration) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	var oldest *entry[Sent]
	soonest := time.Duration(-1)
	for _, waiting := range f.entries {
		if waiting.due.IsZero() {
			continue
		}
		left := waiting.due.Sub(now)
		if left <= 0 && (oldest == nil || waiting.number < oldest.number) {
			oldest = waiting
		}
		if soonest < 0 || left < soonest {
			soonest = left
		}
	}
	if oldest == nil {
		return nil, soonest
	}
	oldest.due = time.Time{}
	oldest.attempts++
	return oldest.message, 0
}

// complete tells whether everything has been asked and answered.
func (f *flight[Sent]) complete() bool {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.exhausted && len(f.entries) == 0
}

// notify wakes the goroutine that waits at a channel of capacity 1, now or at its next wait.
func notify(signal chan struct{}) {
	select {
	case signal <- struct{}{}:
	default:
	}
}
