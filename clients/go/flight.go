package semserve

import (
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// flight counts the requests that were sent and not answered yet, by id.
type flight struct {
	sync.Mutex
	ids    map[string]int
	closed bool
}

func (f *flight) add(id string) {
	f.Lock()
	defer f.Unlock()
	f.ids[id]++
}

// remove takes one request of the id out; an error where none waits.
func (f *flight) remove(id string) error {
	f.Lock()
	defer f.Unlock()
	if f.ids[id] == 0 {
		return typed(status.Errorf(codes.Internal, "the server answered %q, which was not asked", id))
	}
	if f.ids[id]--; f.ids[id] == 0 {
		delete(f.ids, id)
	}
	return nil
}

func (f *flight) close() {
	f.Lock()
	defer f.Unlock()
	f.closed = true
}

// ended judges a stream that the server ended with OK: an error where something is unanswered.
func (f *flight) ended() error {
	f.Lock()
	defer f.Unlock()
	if !f.closed || len(f.ids) > 0 {
		return status.Error(codes.Internal, "the server ended the stream before it had answered everything")
	}
	return nil
}
