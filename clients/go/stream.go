package semserve

import (
	"context"
	"errors"
	"io"
	"iter"

	"google.golang.org/grpc"
)

// Request is one message of a stream: texts or pairs under a name of the caller's.
type Request[Item any] struct {
	// ID comes back with the answer: at most 128 bytes, and best unique among those in flight.
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
// The requests are read in a goroutine of its own, no faster than the server takes them. To leave
// the loop early ends the stream and, at its next request, the reading.
type Answer[Result any] struct {
	// ID is the ID of the request that this answers.
	ID string
	// Result is what a unary call would have answered, nil where Err is set.
	Result *Result
	// Err is the [*Error] with which a unary call would have failed.
	Err error
}

// protocol is how one kind of stream is opened, writes requests and reads answers.
type protocol[Item, Result, Sent, Received any] struct {
	open  func(context.Context, ...grpc.CallOption) (grpc.BidiStreamingClient[Sent, Received], error)
	write func(Request[Item]) *Sent
	read  func(*Received) Answer[Result]
}

func stream[Item, Result, Sent, Received any](
	ctx context.Context, requests iter.Seq[Request[Item]], kind protocol[Item, Result, Sent, Received],
) iter.Seq2[Answer[Result], error] {
	return func(yield func(Answer[Result], error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		connection, err := kind.open(ctx)
		if err != nil {
			yield(Answer[Result]{}, typed(err))
			return
		}
		run := &exchange[Result]{
			steps:  make(chan step[Result]), // unbuffered, so that a slow loop slows the server
			left:   make(chan struct{}),
			flight: flight{ids: map[string]int{}},
		}
		defer close(run.left)
		go send(ctx, connection, requests, kind, run)
		go receive(connection, kind, run)
		for step := range run.steps {
			if !yield(step.answer, step.err) || step.err != nil {
				return
			}
		}
	}
}

// exchange is what the loop over one stream shares with its two goroutines.
type exchange[Result any] struct {
	steps  chan step[Result]
	left   chan struct{} // closed when the loop has been left
	flight flight
}

// step is one turn of the loop: an answer, or the error that ends it.
type step[Result any] struct {
	answer Answer[Result]
	err    error
}

// give hands a step to the loop; false where the loop has been left.
func (e *exchange[Result]) give(next step[Result]) bool {
	select {
	case e.steps <- next:
		return true
	case <-e.left:
		return false
	}
}

// send writes every request and then closes its half of the stream. A request that cannot be
// written is answered here; where the stream itself is broken, receive learns why.
func send[Item, Result, Sent, Received any](
	ctx context.Context, connection grpc.BidiStreamingClient[Sent, Received],
	requests iter.Seq[Request[Item]], kind protocol[Item, Result, Sent, Received],
	run *exchange[Result],
) {
	for request := range requests {
		if ctx.Err() != nil {
			return
		}
		message := kind.write(request)
		if refused := refusal(message); refused != nil {
			if !run.give(step[Result]{answer: Answer[Result]{ID: request.ID, Err: refused}}) {
				return
			}
			continue
		}
		run.flight.add(request.ID)
		if connection.Send(message) != nil {
			return
		}
	}
	run.flight.close()
	_ = connection.CloseSend() // it never fails: receive learns of a broken stream
}

// receive reads answers until the stream ends. The steps end with it: an end without an error
// means that send has closed its half, so that nobody gives a step any more.
func receive[Item, Result, Sent, Received any](
	connection grpc.BidiStreamingClient[Sent, Received],
	kind protocol[Item, Result, Sent, Received], run *exchange[Result],
) {
	for {
		received, err := connection.Recv()
		if errors.Is(err, io.EOF) {
			if err = run.flight.ended(); err == nil {
				close(run.steps)
				return
			}
		}
		next := step[Result]{err: typed(err)}
		if err == nil {
			next.answer = kind.read(received)
			next.err = run.flight.remove(next.answer.ID)
		}
		if !run.give(next) || next.err != nil {
			return
		}
	}
}
