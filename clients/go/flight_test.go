package semserve_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	semserve "github.com/semserve/semserve/clients/go"
	"github.com/semserve/semserve/clients/go/semservev1"
)

func TestAStreamSendsAgainWhatTheServerShed(t *testing.T) {
	for _, code := range []codes.Code{codes.ResourceExhausted, codes.Unavailable} {
		t.Run(code.String(), func(t *testing.T) {
			server := new(answering)
			seen := map[string]int{}
			server.stream = func(stream embedStream) error {
				for {
					message, err := stream.Recv()
					if err != nil {
						return nil // the half-close
					}
					answer := shed(message, code)
					if seen[message.GetId()]++; seen[message.GetId()] == 3 {
						answer = server.answer(stream.Context(), message)
					}
					if err := stream.Send(answer); err != nil {
						return err
					}
				}
			}
			texts := make([]string, 30)
			for i := range texts {
				texts[i] = strings.Repeat("x", i+1)
			}
			answers, err := collect(server.dial(t).StreamEmbed(t.Context(), requests(texts...)))
			if err != nil {
				t.Fatal(err)
			}
			got := map[string][][]float32{}
			for _, answer := range answers {
				if answer.Err != nil {
					t.Fatal(answer.Err)
				}
				got[answer.ID] = answer.Result.Vectors()
			}
			same(t, slices.Sorted(slices.Values(texts)), slices.Sorted(maps.Keys(got)))
			for text, vectors := range got {
				same(t, [][]float32{{float32(len(text)), 1}}, vectors)
			}
			same(t, len(texts), len(answers))
		})
	}
}

func TestAStreamGoesOnWhereTheServerGoesAway(t *testing.T) {
	var streams atomic.Int32
	server := new(answering)
	server.stream = func(stream embedStream) error {
		number := streams.Add(1)
		for {
			message, err := stream.Recv()
			if err != nil {
				return nil // the half-close
			}
			if err := stream.Send(server.answer(stream.Context(), message)); err != nil {
				return err
			}
			if number <= 2 {
				_, _ = stream.Recv() // a request that it takes and never answers
				return status.Error(codes.Unavailable, "stopping")
			}
		}
	}
	texts := make([]string, 20)
	for i := range texts {
		texts[i] = strings.Repeat("x", i+1)
	}
	answers, err := collect(server.dial(t).StreamEmbed(t.Context(), requests(texts...)))
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, answer := range answers {
		same(t, [][]float32{{float32(len(answer.ID)), 1}}, answer.Result.Vectors())
		ids = append(ids, answer.ID)
	}
	same(t, texts, slices.SortedFunc(slices.Values(ids), func(a, b string) int { return len(a) - len(b) }))
	same(t, int32(3), streams.Load())
}

func TestAStreamThatBreaksTooOftenEndsWithItsError(t *testing.T) {
	server := &answering{stream: func(stream embedStream) error {
		if err := stream.SendHeader(nil); err != nil {
			return err // with headers gRPC itself tries no more
		}
		return status.Error(codes.Unavailable, "stopping")
	}}
	_, err := collect(server.dial(t).StreamEmbed(t.Context(), requests("a")))
	same(t, codes.Unavailable, status.Code(err))
}

func TestARequestThatIsShedTooOftenIsAnsweredWithTheError(t *testing.T) {
	var sent atomic.Int32
	server := &answering{stream: func(stream embedStream) error {
		for {
			message, err := stream.Recv()
			if err != nil {
				return nil // the half-close
			}
			sent.Add(1)
			if err := stream.Send(shed(message, codes.ResourceExhausted)); err != nil {
				return err
			}
		}
	}}
	answers, err := collect(server.dial(t).StreamEmbed(t.Context(), requests("a")))
	if err != nil {
		t.Fatal(err)
	}
	same(t, 1, len(answers))
	same(t, codes.ResourceExhausted, status.Code(answers[0].Err))
	same(t, int32(4), sent.Load())
}

func TestTheSourceIsReadNoFurtherAheadThanTheBound(t *testing.T) {
	const bound, count = 3, 30
	var read, answered, ahead atomic.Int32
	server := new(answering)
	server.stream = func(stream embedStream) error {
		var held []*semservev1.StreamEmbedRequest
		for number := range count {
			message, err := stream.Recv()
			if err != nil {
				return err
			}
			held = append(held, message)
			if len(held) < bound && number < count-1 {
				continue // a client with fewer messages in flight would never get an answer
			}
			for len(held) > 0 && (len(held) == bound || number == count-1) {
				answered.Add(1)
				if err := stream.Send(server.answer(stream.Context(), held[0])); err != nil {
					return err
				}
				held = held[1:]
			}
		}
		return halfClose(stream)
	}
	source := func(yield func(streamRequest) bool) {
		for i := range count {
			ahead.Store(max(ahead.Load(), read.Add(1)-answered.Load()))
			if !yield(streamRequest{ID: strconv.Itoa(i), Items: []string{"a"}}) {
				return
			}
		}
	}
	answers, err := collect(server.dial(t, semserve.WithInFlight(bound)).StreamEmbed(t.Context(), source))
	if err != nil {
		t.Fatal(err)
	}
	same(t, count, len(answers))
	same(t, int32(bound), ahead.Load())
}

func TestTheBytesInFlightAreBounded(t *testing.T) {
	const large = 2 << 20
	var most, held int
	server := new(answering)
	server.stream = func(stream embedStream) error {
		var messages []*semservev1.StreamEmbedRequest
		for number := range 20 {
			message, err := stream.Recv()
			if err != nil {
				return err
			}
			messages = append(messages, message)
			held += len(message.GetRequest().GetTexts()[0])
			if most = max(most, held); held < 7*large && number < 19 {
				continue // the client has room for one more
			}
			for _, message := range messages {
				held -= len(message.GetRequest().GetTexts()[0])
				if err := stream.Send(server.answer(stream.Context(), message)); err != nil {
					return err
				}
			}
			messages = nil
		}
		return halfClose(stream)
	}
	text := strings.Repeat("x", large)
	client := server.dial(t, semserve.WithInFlight(100))
	answers, err := collect(client.StreamEmbed(t.Context(), requests(slices.Repeat([]string{text}, 20)...)))
	if err != nil {
		t.Fatal(err)
	}
	same(t, 20, len(answers))
	same(t, true, most <= 16<<20)
}

func TestARequestThatIsTooLargeFailsAloneAndTheStreamGoesOn(t *testing.T) {
	client := new(answering).dial(t)
	answers, err := collect(client.StreamEmbed(t.Context(), slices.Values([]streamRequest{
		{ID: "good", Items: []string{"a"}},
		{ID: "large", Items: []string{strings.Repeat("x", 5<<20)}},
		{ID: "good too", Items: []string{"bb"}},
	})))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]codes.Code{}
	for _, answer := range answers {
		got[answer.ID] = status.Code(answer.Err)
	}
	same(t, map[string]codes.Code{
		"good": codes.OK, "large": codes.InvalidArgument, "good too": codes.OK,
	}, got)
}

func TestAMessageOverALimitIsNoOverload(t *testing.T) {
	var calls atomic.Int32
	server := &answering{embed: func(context.Context, *embedRequest) (*embedResponse, error) {
		calls.Add(1)
		return nil, status.Error(codes.ResourceExhausted, "SERVER: Received message larger than max (9 vs. 4)")
	}}
	_, err := server.dial(t).Embed(t.Context(), []string{"a"})
	same(t, codes.InvalidArgument, status.Code(err))
	same(t, int32(1), calls.Load())
}

func TestAWaitPastTheDeadlineIsNotWaitedFor(t *testing.T) {
	var calls atomic.Int32
	server := &answering{embed: func(ctx context.Context, _ *embedRequest) (*embedResponse, error) {
		calls.Add(1)
		pushback(ctx, "60000")
		return nil, status.Error(codes.ResourceExhausted, "full")
	}}
	_, err := server.dial(t, semserve.WithTimeout(20*time.Second)).Embed(t.Context(), []string{"a"})
	same(t, codes.ResourceExhausted, status.Code(err))
	same(t, int32(1), calls.Load())
}

func TestACallThatWaitsForRoomEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := &answering{embed: func(served context.Context, _ *embedRequest) (*embedResponse, error) {
		context.AfterFunc(served, cancel) // after the answer, while the client waits
		pushback(served, "3600000")
		return nil, status.Error(codes.ResourceExhausted, "full")
	}}
	_, err := server.dial(t, semserve.WithTimeout(0)).Embed(ctx, []string{"a"})
	same(t, true, errors.Is(err, context.Canceled))
}

// shed refuses a request of a stream, and lets it come back after a millisecond.
func shed(message *semservev1.StreamEmbedRequest, code codes.Code) *semservev1.StreamEmbedResponse {
	full, err := status.New(code, "full").WithDetails(
		&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Millisecond)},
	)
	if err != nil {
		panic(err)
	}
	return &semservev1.StreamEmbedResponse{
		Id: message.GetId(), Outcome: &semservev1.StreamEmbedResponse_Error{Error: full.Proto()},
	}
}
