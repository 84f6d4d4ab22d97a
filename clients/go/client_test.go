package semserve_test

import (
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	semserve "github.com/semserve/semserve/clients/go"
	"github.com/semserve/semserve/clients/go/semservev1"
)

type (
	embedRequest  = semservev1.EmbedRequest
	embedResponse = semservev1.EmbedResponse
)

func TestEmbedAnswersInTheOrderOfTheTexts(t *testing.T) {
	client := new(answering).dial(t)
	answer, err := client.Embed(t.Context(), []string{"four", "a", "three"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, [][]float32{{4, 1}, {1, 1}, {5, 1}}, answer.Vectors())
	same(t, "lengths", answer.Model)
	same(t, semserve.Usage{TokenCount: 3, PaddedTokenCount: 4}, answer.Usage)
	same(t, semserve.Embedding{Vector: []float32{1, 1}, TokenCount: 1, TruncatedTokens: 1}, answer.Results[1])
}

func TestOptionsReachTheRequest(t *testing.T) {
	var got *embedRequest
	server := &answering{embed: func(_ context.Context, request *embedRequest) (*embedResponse, error) {
		got = request
		return &embedResponse{}, nil
	}}
	_, err := server.dial(t).Embed(t.Context(), []string{"a"},
		semserve.WithModel("lengths"), semserve.WithNormalize(false), semserve.WithDimensions(math.MaxInt),
		semserve.WithTruncation(semserve.TruncationNone),
		semserve.WithEncoding(semserve.EncodingInt8), semserve.WithPartial(),
	)
	if err != nil {
		t.Fatal(err)
	}
	sameMessage(t, &embedRequest{
		Model: "lengths", Texts: []string{"a"}, Normalize: proto.Bool(false),
		Dimensions:   proto.Int32(math.MaxInt32), // too large is kept too large, for the server to refuse
		Truncation:   semservev1.Truncation_TRUNCATION_NONE,
		Encoding:     semservev1.VectorEncoding_VECTOR_ENCODING_INT8,
		AllowPartial: true,
	}, got)
}

func TestAKeyIsSentWithEveryCall(t *testing.T) {
	var got []string
	server := &answering{embed: func(ctx context.Context, _ *embedRequest) (*embedResponse, error) {
		got = append(got, metadata.ValueFromIncomingContext(ctx, "authorization")...)
		return &embedResponse{}, nil
	}}
	client := server.dial(t, semserve.WithKey("alice.secret"))
	for range 2 {
		if _, err := client.Embed(t.Context(), []string{"a"}); err != nil {
			t.Fatal(err)
		}
	}
	same(t, []string{"Bearer alice.secret", "Bearer alice.secret"}, got)
}

func TestABadTextFailsTheCallAndNamesItsField(t *testing.T) {
	_, err := new(answering).dial(t).Embed(t.Context(), []string{""})
	var failed *semserve.Error
	if !errors.As(err, &failed) {
		t.Fatalf("%v is no *semserve.Error", err)
	}
	same(t, codes.InvalidArgument, failed.Code)
	same(t, codes.InvalidArgument, status.Code(err))
	same(t, []semserve.Violation{{Field: "texts[0]", Description: "empty"}}, failed.Violations)
	same(t, "semserve: InvalidArgument: texts[0]: empty", err.Error())
}

func TestAPartialAnswerKeepsTheGoodTexts(t *testing.T) {
	client := new(answering).dial(t)
	answer, err := client.Embed(t.Context(), []string{"", "good"}, semserve.WithPartial())
	if err != nil {
		t.Fatal(err)
	}
	same(t, [][]float32{nil, {4, 1}}, answer.Vectors())
	same(t, codes.InvalidArgument, status.Code(answer.Results[0].Err))
	same(t, nil, answer.Results[1].Err)
}

func TestATextThatIsNotUTF8IsRefusedByField(t *testing.T) {
	client := new(answering).dial(t)
	_, err := client.Classify(t.Context(), []semserve.ClassifyPair{
		{Premise: "good", Hypothesis: "good"}, {Premise: "good", Hypothesis: "bad \xff"},
	})
	var failed *semserve.Error
	if !errors.As(err, &failed) {
		t.Fatalf("%v is no *semserve.Error", err)
	}
	same(t, codes.InvalidArgument, failed.Code)
	same(t, []semserve.Violation{{Field: "pairs[1].hypothesis", Description: "is not valid UTF-8"}}, failed.Violations)
}

func TestARefusalNamesABoundedNumberOfFields(t *testing.T) {
	_, err := new(answering).dial(t).Embed(t.Context(), slices.Repeat([]string{"\xff"}, 1000))
	var failed *semserve.Error
	if !errors.As(err, &failed) {
		t.Fatalf("%v is no *semserve.Error", err)
	}
	same(t, 16, len(failed.Violations))
}

func TestACallWithoutADeadlineGetsTheClientsOwn(t *testing.T) {
	for _, each := range []struct {
		name    string
		timeout time.Duration
		want    bool
	}{{"default", semserve.DefaultTimeout, true}, {"none", 0, false}} {
		t.Run(each.name, func(t *testing.T) {
			var got bool
			server := &answering{embed: func(ctx context.Context, _ *embedRequest) (*embedResponse, error) {
				_, got = ctx.Deadline()
				return &embedResponse{}, nil
			}}
			client := server.dial(t, semserve.WithTimeout(each.timeout))
			if _, err := client.Embed(t.Context(), []string{"a"}); err != nil {
				t.Fatal(err)
			}
			same(t, each.want, got)
		})
	}
}

func TestTheErrorsOfAContextAreItsOwn(t *testing.T) {
	server := &answering{embed: func(ctx context.Context, _ *embedRequest) (*embedResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	client := server.dial(t, semserve.WithTimeout(time.Millisecond))
	_, err := client.Embed(t.Context(), []string{"a"})
	same(t, true, errors.Is(err, context.DeadlineExceeded))
	same(t, false, errors.Is(err, context.Canceled))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = client.Embed(ctx, []string{"a"})
	same(t, true, errors.Is(err, context.Canceled))
}

func TestWhatTheServerHadNoRoomForIsTriedAgain(t *testing.T) {
	for _, code := range []codes.Code{codes.Unavailable, codes.ResourceExhausted} {
		t.Run(code.String(), func(t *testing.T) {
			var calls atomic.Int32
			server := &answering{embed: func(ctx context.Context, _ *embedRequest) (*embedResponse, error) {
				if calls.Add(1) < 3 {
					pushback(ctx, "1") // milliseconds, in place of the back-off
					return nil, status.Error(code, "no room")
				}
				return &embedResponse{Model: "lengths"}, nil
			}}
			answer, err := server.dial(t).Embed(t.Context(), []string{"a"})
			if err != nil {
				t.Fatal(err)
			}
			same(t, "lengths", answer.Model)
			same(t, int32(3), calls.Load())
		})
	}
}

func TestAnOverloadedServerSaysWhenToComeBack(t *testing.T) {
	var calls atomic.Int32
	server := &answering{embed: func(ctx context.Context, _ *embedRequest) (*embedResponse, error) {
		calls.Add(1)
		pushback(ctx, "-1") // do not retry
		full, err := status.New(codes.ResourceExhausted, "queue full").WithDetails(
			&errdetails.RetryInfo{RetryDelay: durationpb.New(250 * time.Millisecond)},
		)
		if err != nil {
			return nil, err
		}
		return nil, full.Err()
	}}
	_, err := server.dial(t).Embed(t.Context(), []string{"a"})
	var failed *semserve.Error
	if !errors.As(err, &failed) {
		t.Fatalf("%v is no *semserve.Error", err)
	}
	same(t, codes.ResourceExhausted, failed.Code)
	same(t, 250*time.Millisecond, failed.RetryAfter)
	same(t, int32(1), calls.Load())
}

func TestCallsAreSpreadOverEveryAddress(t *testing.T) {
	var calls [2]atomic.Int32
	addresses := make([]resolver.Address, len(calls))
	for i := range calls {
		server := &answering{embed: func(context.Context, *embedRequest) (*embedResponse, error) {
			calls[i].Add(1)
			return &embedResponse{}, nil
		}}
		addresses[i] = resolver.Address{Addr: server.start(t)}
	}
	replicas := manual.NewBuilderWithScheme("replicas")
	replicas.InitialState(resolver.State{Addresses: addresses})
	client := connect(t, "replicas:///", semserve.WithDialOptions(grpc.WithResolvers(replicas)))
	// The second connection may be ready later than the first, so call until both have answered;
	// where they never do, the test's own deadline ends it.
	for calls[0].Load() == 0 || calls[1].Load() == 0 {
		if _, err := client.Embed(t.Context(), []string{"a"}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnAddressThatIsNoneIsRefused(t *testing.T) {
	if _, err := semserve.New("semserve://\x00"); err == nil {
		t.Fatal("an address that cannot be read made a client")
	}
}

func TestTheConnectionServesTheGeneratedStubs(t *testing.T) {
	client := new(answering).dial(t)
	answer, err := semservev1.NewModelServiceClient(client.Conn()).ListModels(
		t.Context(), &semservev1.ListModelsRequest{},
	)
	if err != nil {
		t.Fatal(err)
	}
	same(t, 2, len(answer.GetModels()))
}

func pushback(ctx context.Context, milliseconds string) {
	if err := grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", milliseconds)); err != nil {
		panic(err)
	}
}

func same(t *testing.T, want, got any) {
	t.Helper()
	if !reflect.DeepEqual(want, got) {
		t.Errorf("want %#v, got %#v", want, got)
	}
}

func sameMessage(t *testing.T, want, got proto.Message) {
	t.Helper()
	if !proto.Equal(want, got) {
		t.Errorf("want %v, got %v", want, got)
	}
}
