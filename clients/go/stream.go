package semserve

import (
	"context"
	"errors"
	"io"
	"iter"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Request is one message of a stream: texts or pairs under a name of the caller's.
type Request[Item any] struct {
	// ID comes back with the answer. It is not sent: any string will do.
	ID string
	// Items holds what a unary call would take.
	Items []Item
}

// Answer is the answer to one [Request] of a stream.
//
// Answers come in any order. A request that fails has an Err of its own and the stream goes on;
// only a stream that breaks as a whole yields an error beside the answer, as its last step.
// After a clean end every request has been answered exactly once.
//
// The requests are read in a goroutine of its own, at most as far ahead of the answers as
// [WithInFlight] says. A request that the server shed is sent again, up to four times in all and when
// the server asks for it; one that the server had when it went away is sent on another stream. To leave the loop early ends the stream and, at its next request, the
// reading.
type Answer[Result any] struct {
	// ID is the ID of the request that this answers.
	ID string
	// Result is what a unary call would have answered, nil where Err is set.
	Result *Result
	// Err is the [*Error] with which a unary call would have failed.
	Err error
}

// maxStreamRequestBytes is the largest request that a stream carries. A larger one is sent by itself: one
// that the server refuses as too large ends the whole stream.
const maxStreamRequestBytes = 3 << 20

// protocol is how one kind of stream is opened, writes requests and reads answers.
type protocol[Item, Result, Sent, Received any] struct {
	open  func(context.Context, ...grpc.CallOption) (grpc.BidiStreamingClient[Sent, Received], error)
	write func(id string, items []Item) *Sent
	read  func(*Received) (id string, result *Result, err error)
	// alone asks without a stream.
	alone func(context.Context, []Item) (*Result, error)
}

func stream[Item, Result, Sent, Received any](
	ctx context.Context, requests iter.Seq[Request[Item]], client *Client,
	kind protocol[Item, Result, Sent, Received],
) iter.Seq2[Answer[Result], error] {
	return func(yield func(Answer[Result], error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		connection, err := kind.open(ctx)
		if err != nil {
			yield(Answer[Result]{}, client.explain(typed(err)))
			return
		}
		run := &exchange[Item, Result, Sent, Received]{
			protocol:   kind,
			connection: connection,
			flight:     newFlight[Sent](client.inFlight),
			steps:      make(chan step[Result]), // unbuffered, so that a slow loop slows the server
			left:       make(chan struct{}),
		}
		defer close(run.left)
		go run.feed(ctx, requests)
		go run.send(ctx)
		go run.receive(ctx)
		for step := range run.steps {
			if !yield(step.answer, client.explain(step.err)) || step.err != nil {
				return
			}
		}
	}
}

// exchange is what the loop over one stream shares with its three goroutines.
type exchange[Item, Result, Sent, Received any] struct {
	protocol[Item, Result, Sent, Received]
	flight     *flight[Sent]
	sending    sync.Mutex // held while a message is taken and sent, and while the connection changes
	connection grpc.BidiStreamingClient[Sent, Received]
	steps      chan step[Result]
	left       chan struct{} // closed when the loop has been left
}

// step is one turn of the loop: an answer, or the error that ends it.
type step[Result any] struct {
	answer Answer[Result]
	err    error
}

// give hands a step to the loop; false where the loop has been left.
func (e *exchange[Item, Result, Sent, Received]) give(next step[Result]) bool {
	select {
	case e.steps <- next:
		return true
	case <-e.left:
		return false
	}
}

// feed reads the caller's requests, as long as there is room. A request that cannot be a message of
// the stream is answered here.
func (e *exchange[Item, Result, Sent, Received]) feed(ctx context.Context, requests iter.Seq[Request[Item]]) {
	number := 0
	for request := range requests {
		if ctx.Err() != nil {
			return
		}
		id := strconv.Itoa(number)
		message := e.write(id, request.Items)
		if refused := refusal(message); refused != nil {
			if !e.give(step[Result]{answer: Answer[Result]{ID: request.ID, Err: refused}}) {
				return
			}
			continue
		}
		if bytes := size(message); bytes > maxStreamRequestBytes {
			result, err := e.alone(ctx, request.Items)
			if !e.give(step[Result]{answer: Answer[Result]{ID: request.ID, Result: result, Err: err}}) {
				return
			}
		} else if !e.admit(ctx, id, &entry[Sent]{number: number, name: request.ID, message: message, bytes: bytes}) {
			return
		}
		number++
	}
	e.flight.exhaust()
}

// admit sends a new request once there is room, and waits until there is room for the next; false
// where the loop has been left.
func (e *exchange[Item, Result, Sent, Received]) admit(ctx context.Context, id string, added *entry[Sent]) bool {
	if !e.wait(ctx, added.bytes) {
		return false
	}
	e.flight.add(id, added)
	return e.wait(ctx, 0)
}

// wait waits until a request of so many bytes fits; false where the loop has been left.
func (e *exchange[Item, Result, Sent, Received]) wait(ctx context.Context, bytes int) bool {
	for !e.flight.fits(bytes) {
		select {
		case <-e.flight.room:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// send writes the requests that are due, and closes its half of the stream once everything is
// answered.
func (e *exchange[Item, Result, Sent, Received]) send(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !e.flight.complete() {
		left, sent := e.sendNext()
		if sent {
			continue
		}
		if left < 0 {
			left = time.Hour // nothing waits, so that only a change matters
		}
		timer.Reset(left)
		select {
		case <-e.flight.changed:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
	e.sending.Lock()
	defer e.sending.Unlock()
	_ = e.connection.CloseSend() // it never fails: receive learns of a broken stream
}

// sendNext sends one message that is due, or gives the time until one is. Where the stream is broken,
// receive learns why, and makes what was lost due again.
func (e *exchange[Item, Result, Sent, Received]) sendNext() (time.Duration, bool) {
	e.sending.Lock()
	defer e.sending.Unlock()
	message, left := e.flight.next(time.Now())
	if message == nil {
		return left, false
	}
	_ = e.connection.Send(message)
	return 0, true
}

// receive reads answers until the stream ends, and opens another one where it breaks. The steps end
// with it: an end without an error means that everything was answered, so that nobody gives a step
// any more.
func (e *exchange[Item, Result, Sent, Received]) receive(ctx context.Context) {
	connection, breaks := e.connection, 0
	for {
		received, err := connection.Recv()
		if err != nil && e.flight.complete() {
			close(e.steps)
			return
		}
		if errors.Is(err, io.EOF) {
			err = status.Error(codes.Internal, "the server ended the stream before it had answered everything")
		}
		if err != nil {
			breaks++
			if connection, err = e.reopen(ctx, connection, typed(err), breaks); err != nil {
				e.give(step[Result]{err: err})
				return
			}
			continue
		}
		breaks = 0
		id, result, failed := e.read(received)
		name, answered, err := e.flight.settle(id, failed, time.Now())
		next := step[Result]{answer: Answer[Result]{ID: name, Result: result, Err: failed}, err: err}
		if (answered || err != nil) && (!e.give(next) || err != nil) {
			return
		}
	}
}

// reopen opens another stream in place of one that broke, as retryAfter says, and has sent again what
// the server had. The error is why there is none.
func (e *exchange[Item, Result, Sent, Received]) reopen(
	ctx context.Context, broken grpc.BidiStreamingClient[Sent, Received], failed error, breaks int,
) (grpc.BidiStreamingClient[Sent, Received], error) {
	wait, retry := retryAfter(failed, breaks, true)
	if wait, retry = pushback(broken.Trailer(), wait, retry); !retry {
		return nil, failed
	}
	if err := pause(ctx, wait, failed); err != nil {
		return nil, err
	}
	opened, err := e.open(ctx)
	if err != nil {
		return nil, typed(err)
	}
	e.sending.Lock()
	defer e.sending.Unlock()
	e.connection = opened
	e.flight.lose(time.Now())
	return opened, nil
}

// size is the bytes of a message on the wire.
func size(message any) int {
	if sized, ok := message.(proto.Message); ok {
		return proto.Size(sized)
	}
	return 0
}
