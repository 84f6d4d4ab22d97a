package semserve_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	semserve "github.com/semserve/semserve/clients/go"
	"github.com/semserve/semserve/clients/go/semservev1"
)

type (
	embedStream   = grpc.BidiStreamingServer[semservev1.StreamEmbedRequest, semservev1.StreamEmbedResponse]
	embedAnswer   = semserve.Answer[semserve.Embeddings]
	streamRequest = semserve.Request[string]
)

func TestAnswersOfAStreamComeInAnyOrderUnderTheirIDs(t *testing.T) {
	server := new(answering)
	server.stream = func(stream embedStream) error { // answers the last request first
		var messages []*semservev1.StreamEmbedRequest
		for range 3 {
			message, err := stream.Recv()
			if err != nil {
				return err
			}
			messages = append(messages, message)
		}
		for _, message := range slices.Backward(messages) {
			if err := stream.Send(server.answer(stream.Context(), message)); err != nil {
				return err
			}
		}
		return halfClose(stream)
	}
	client := server.dial(t)
	answers, err := collect(client.StreamEmbed(t.Context(), requests("a", "bb", "ccc")))
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, answer := range answers {
		ids = append(ids, answer.ID)
		same(t, [][]float32{{float32(len(answer.ID)), 1}}, answer.Result.Vectors())
	}
	same(t, []string{"ccc", "bb", "a"}, ids)
}

func TestABadRequestIsAnsweredAndTheStreamGoesOn(t *testing.T) {
	client := new(answering).dial(t)
	answers, err := collect(client.StreamEmbed(t.Context(), slices.Values([]streamRequest{
		{ID: "good", Items: []string{"a"}},
		{ID: "empty", Items: []string{""}},
		{ID: "not UTF-8", Items: []string{"a", "b\xff"}},
		{ID: "good too", Items: []string{"bb"}},
	})))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]any{}
	for _, answer := range answers {
		var failed *semserve.Error
		if errors.As(answer.Err, &failed) {
			got[answer.ID] = failed.Violations
		} else {
			got[answer.ID] = answer.Result.Vectors()
		}
	}
	same(t, map[string]any{
		"good":      [][]float32{{1, 1}},
		"empty":     []semserve.Violation{{Field: "texts[0]", Description: "empty"}},
		"not UTF-8": []semserve.Violation{{Field: "texts[1]", Description: "is not valid UTF-8"}},
		"good too":  [][]float32{{2, 1}},
	}, got)
}

func TestOneIDMayNameManyRequests(t *testing.T) {
	client := new(answering).dial(t)
	answers, err := collect(client.StreamEmbed(t.Context(), slices.Values([]streamRequest{
		{Items: []string{"a"}}, {Items: []string{"bb"}}, {Items: []string{"ccc"}},
	})))
	if err != nil {
		t.Fatal(err)
	}
	same(t, 3, len(answers))
}

func TestAStreamOfNothingEndsAtOnce(t *testing.T) {
	answers, err := collect(new(answering).dial(t).StreamEmbed(t.Context(), requests()))
	same(t, nil, err)
	same(t, 0, len(answers))
}

func TestPairsAreClassifiedInAStream(t *testing.T) {
	client := new(answering).dial(t)
	pairs := slices.Values([]semserve.Request[semserve.ClassifyPair]{
		{ID: "in", Items: []semserve.ClassifyPair{{Premise: "a bus", Hypothesis: "bus"}}},
		{ID: "none"},
		{ID: "out", Items: []semserve.ClassifyPair{{Premise: "a bus", Hypothesis: "tram"}}},
	})
	got := map[string]string{}
	for answer, err := range client.StreamClassify(t.Context(), pairs, semserve.WithModel("words")) {
		if err != nil {
			t.Fatal(err)
		}
		if answer.Err != nil {
			got[answer.ID] = status.Code(answer.Err).String()
		} else {
			got[answer.ID] = answer.Result.Results[0].Label
		}
	}
	same(t, map[string]string{"in": "within", "none": "InvalidArgument", "out": "apart"}, got)
}

func TestTheNextRequestMayWaitForAnAnswer(t *testing.T) {
	server := &answering{stream: func(stream embedStream) error {
		for {
			message, err := stream.Recv()
			if err != nil {
				return nil // the half-close
			}
			if err := stream.Send(&semservev1.StreamEmbedResponse{Id: message.GetId()}); err != nil {
				return err
			}
		}
	}}
	answered := make(chan string)
	conversation := func(yield func(streamRequest) bool) {
		for _, id := range []string{"first", "second"} {
			if !yield(streamRequest{ID: id}) {
				return
			}
			same(t, id, <-answered)
		}
	}
	for answer, err := range server.dial(t).StreamEmbed(t.Context(), conversation) {
		if err != nil {
			t.Fatal(err)
		}
		answered <- answer.ID
	}
}

func TestLeavingTheLoopEndsTheStream(t *testing.T) {
	left := make(chan error, 1)
	server := &answering{stream: func(stream embedStream) error {
		message, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := stream.Send(&semservev1.StreamEmbedResponse{Id: message.GetId()}); err != nil {
			return err
		}
		<-stream.Context().Done()
		left <- stream.Context().Err()
		return nil
	}}
	read := make(chan struct{})
	endless := func(yield func(streamRequest) bool) {
		defer close(read)
		for yield(streamRequest{ID: "again", Items: []string{"a"}}) {
		}
	}
	for range server.dial(t).StreamEmbed(t.Context(), endless) {
		break
	}
	same(t, context.Canceled, <-left)
	<-read
}

func TestLeavingTheLoopEndsTheReadingOfBadRequests(t *testing.T) {
	read := make(chan struct{})
	endless := func(yield func(streamRequest) bool) {
		defer close(read)
		for yield(streamRequest{Items: []string{"\xff"}}) {
		}
	}
	for range new(answering).dial(t).StreamEmbed(t.Context(), endless) {
		break
	}
	<-read
}

func TestAServerThatEndsTheStreamTooSoonIsAtFault(t *testing.T) {
	server := &answering{stream: func(stream embedStream) error {
		message, err := stream.Recv()
		if err != nil {
			return err
		}
		return stream.Send(&semservev1.StreamEmbedResponse{Id: message.GetId()})
	}}
	over := make(chan struct{})
	defer close(over)
	unfinished := func(yield func(streamRequest) bool) {
		yield(streamRequest{ID: "first"})
		<-over
	}
	answers, err := collect(server.dial(t).StreamEmbed(t.Context(), unfinished))
	same(t, codes.Internal, status.Code(err))
	same(t, 1, len(answers))
}

func TestACancelledContextEndsTheLoopWithItsError(t *testing.T) {
	reading := make(chan struct{})
	server := &answering{stream: func(stream embedStream) error {
		close(reading)
		<-stream.Context().Done()
		return stream.Context().Err()
	}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-reading
		cancel()
	}()
	_, err := collect(server.dial(t).StreamEmbed(ctx, requests("a")))
	same(t, true, errors.Is(err, context.Canceled))
}

func TestAStreamThatBreaksEndsTheLoopWithItsError(t *testing.T) {
	for _, each := range []struct {
		name   string
		stream func(embedStream) error
		want   codes.Code
	}{
		{"failed", func(embedStream) error {
			return status.Error(codes.PermissionDenied, "no key")
		}, codes.PermissionDenied},
		{"ended without an answer", func(stream embedStream) error {
			_, err := stream.Recv()
			return err
		}, codes.Internal},
		{"answered what was not asked", func(stream embedStream) error {
			return stream.Send(&semservev1.StreamEmbedResponse{Id: "other"})
		}, codes.Internal},
	} {
		t.Run(each.name, func(t *testing.T) {
			client := (&answering{stream: each.stream}).dial(t)
			answers, err := collect(client.StreamEmbed(t.Context(), requests("a", "bb")))
			same(t, each.want, status.Code(err))
			same(t, 0, len(answers))
		})
	}
}

// requests is a stream of texts, each under the text itself as its ID.
func requests(texts ...string) iter.Seq[streamRequest] {
	return func(yield func(streamRequest) bool) {
		for _, text := range texts {
			if !yield(streamRequest{ID: text, Items: []string{text}}) {
				return
			}
		}
	}
}

// halfClose waits until the client has no more requests.
func halfClose(stream embedStream) error {
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		return status.Errorf(codes.FailedPrecondition, "in place of the half-close came %v", err)
	}
	return nil
}

func collect(stream iter.Seq2[embedAnswer, error]) ([]embedAnswer, error) {
	var answers []embedAnswer
	for answer, err := range stream {
		if err != nil {
			return answers, err
		}
		answers = append(answers, answer)
	}
	return answers, nil
}
