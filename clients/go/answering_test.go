package semserve_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	semserve "github.com/semserve/semserve/clients/go"
	"github.com/semserve/semserve/clients/go/semservev1"
)

// answering is a real gRPC server in this process. A text's vector is its length and one, so that
// a mistake in the order shows; a text of nothing is bad.
type answering struct {
	semservev1.UnimplementedEmbeddingServiceServer
	semservev1.UnimplementedClassificationServiceServer
	semservev1.UnimplementedSimilarityServiceServer
	semservev1.UnimplementedScoreServiceServer
	semservev1.UnimplementedModelServiceServer

	// embed and stream take the place of the usual answer where they are set.
	embed  func(context.Context, *semservev1.EmbedRequest) (*semservev1.EmbedResponse, error)
	stream func(grpc.BidiStreamingServer[semservev1.StreamEmbedRequest, semservev1.StreamEmbedResponse]) error

	classified *semservev1.ClassifyRequest
	compared   *semservev1.CompareRequest
	ranked     *semservev1.RankRequest
	searched   *semservev1.SearchRequest
	crossed    *semservev1.MatrixRequest
	embedded   *semservev1.EmbedRequest
	sparse     *semservev1.EmbedSparseRequest
	scored     *semservev1.ScoreRequest
	reranked   *semservev1.RerankRequest
}

// start serves on a free port until the test ends and returns the address.
func (a *answering) start(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	semservev1.RegisterEmbeddingServiceServer(server, a)
	semservev1.RegisterClassificationServiceServer(server, a)
	semservev1.RegisterSimilarityServiceServer(server, a)
	semservev1.RegisterScoreServiceServer(server, a)
	semservev1.RegisterModelServiceServer(server, a)
	checks := health.NewServer()
	checks.SetServingStatus("warming", healthv1.HealthCheckResponse_NOT_SERVING)
	healthv1.RegisterHealthServer(server, checks)
	go func() { _ = server.Serve(listener) }() // ends with Stop, which is no failure
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

// dial starts the server and connects a client to it.
func (a *answering) dial(t *testing.T, options ...semserve.Option) *semserve.Client {
	t.Helper()
	return connect(t, a.start(t), options...)
}

func connect(t *testing.T, address string, options ...semserve.Option) *semserve.Client {
	t.Helper()
	client, err := semserve.New(address, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}

func (a *answering) Embed(
	ctx context.Context, request *semservev1.EmbedRequest,
) (*semservev1.EmbedResponse, error) {
	if a.embed != nil {
		return a.embed(ctx, request)
	}
	answer := &semservev1.EmbedResponse{
		Model: "lengths", Usage: &semservev1.Usage{TokenCount: 3, PaddedTokenCount: 4},
	}
	for _, text := range request.GetTexts() {
		result := &semservev1.EmbedResult{TokenCount: int32(len(text)), TruncatedTokens: 1}
		result.Outcome = &semservev1.EmbedResult_Embedding{
			Embedding: &semservev1.Embedding{Values: []float32{float32(len(text)), 1}},
		}
		if text == "" {
			bad := refused("texts[0]", "empty").Proto()
			result.Outcome = &semservev1.EmbedResult_Error{Error: bad}
			if !request.GetAllowPartial() {
				return nil, status.ErrorProto(bad)
			}
		}
		answer.Results = append(answer.Results, result)
	}
	return answer, nil
}

// StreamEmbed answers each request as it comes.
func (a *answering) StreamEmbed(
	stream grpc.BidiStreamingServer[semservev1.StreamEmbedRequest, semservev1.StreamEmbedResponse],
) error {
	if a.stream != nil {
		return a.stream(stream)
	}
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(a.answer(stream.Context(), message)); err != nil {
			return err
		}
	}
}

// answer gives the answer to one request of a stream.
func (a *answering) answer(
	ctx context.Context, message *semservev1.StreamEmbedRequest,
) *semservev1.StreamEmbedResponse {
	answer := &semservev1.StreamEmbedResponse{Id: message.GetId()}
	if response, err := a.Embed(ctx, message.GetRequest()); err != nil {
		answer.Outcome = &semservev1.StreamEmbedResponse_Error{Error: status.Convert(err).Proto()}
	} else {
		answer.Outcome = &semservev1.StreamEmbedResponse_Response{Response: response}
	}
	return answer
}

func (a *answering) Classify(
	_ context.Context, request *semservev1.ClassifyRequest,
) (*semservev1.ClassifyResponse, error) {
	a.classified = request
	answer := &semservev1.ClassifyResponse{Model: "words"}
	for _, pair := range request.GetPairs() {
		result := &semservev1.ClassifyResult{TokenCount: 7}
		label := "apart"
		if strings.Contains(pair.GetPremise(), pair.GetHypothesis()) {
			label = "within"
		}
		result.Outcome = &semservev1.ClassifyResult_Classification{
			Classification: &semservev1.Classification{
				Label:  label,
				Scores: []*semservev1.LabelScore{{Label: label, Score: 0.75}},
				Logits: []float32{1.5},
			},
		}
		if pair.GetPremise() == "" {
			result.Outcome = &semservev1.ClassifyResult_Error{
				Error: refused("pairs[0].premise", "empty").Proto(),
			}
		}
		answer.Results = append(answer.Results, result)
	}
	return answer, nil
}

func (a *answering) StreamClassify(
	stream grpc.BidiStreamingServer[semservev1.StreamClassifyRequest, semservev1.StreamClassifyResponse],
) error {
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		answer := &semservev1.StreamClassifyResponse{Id: message.GetId()}
		if len(message.GetRequest().GetPairs()) == 0 {
			bad := refused("pairs", "none").Proto()
			answer.Outcome = &semservev1.StreamClassifyResponse_Error{Error: bad}
		} else {
			response, err := a.Classify(stream.Context(), message.GetRequest())
			if err != nil {
				return err
			}
			answer.Outcome = &semservev1.StreamClassifyResponse_Response{Response: response}
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}

func (a *answering) Compare(
	_ context.Context, request *semservev1.CompareRequest,
) (*semservev1.CompareResponse, error) {
	a.compared = request
	return &semservev1.CompareResponse{
		Model: "lengths", Scores: []float32{0.5}, Usage: &semservev1.Usage{TokenCount: 3, PaddedTokenCount: 4},
		TruncatedTokens: 2,
	}, nil
}

func (a *answering) Rank(
	_ context.Context, request *semservev1.RankRequest,
) (*semservev1.RankResponse, error) {
	a.ranked = request
	hits := []*semservev1.Hit{{Index: 1, Score: 0.5}, {Index: 0}}
	return &semservev1.RankResponse{Hits: hits, TruncatedTokens: 3}, nil
}

func (a *answering) Search(
	_ context.Context, request *semservev1.SearchRequest,
) (*semservev1.SearchResponse, error) {
	a.searched = request
	found := &semservev1.SearchResult{Hits: []*semservev1.Hit{{Index: 2, Score: 0.25}}}
	return &semservev1.SearchResponse{Results: []*semservev1.SearchResult{found, {}}, TruncatedTokens: 4}, nil
}

func (a *answering) Matrix(
	_ context.Context, request *semservev1.MatrixRequest,
) (*semservev1.MatrixResponse, error) {
	a.crossed = request
	row := &semservev1.MatrixRow{Scores: []float32{1, 0.5}}
	return &semservev1.MatrixResponse{Rows: []*semservev1.MatrixRow{row}, TruncatedTokens: 5}, nil
}

func (a *answering) ListModels(
	context.Context, *semservev1.ListModelsRequest,
) (*semservev1.ListModelsResponse, error) {
	return &semservev1.ListModelsResponse{
		Models: []*semservev1.ModelInfo{{Name: "lengths"}, {Name: "words"}},
	}, nil
}

func (a *answering) GetModel(
	_ context.Context, request *semservev1.GetModelRequest,
) (*semservev1.GetModelResponse, error) {
	if request.GetModel() != "words" {
		return nil, status.Errorf(codes.NotFound, "no model %q", request.GetModel())
	}
	return &semservev1.GetModelResponse{Model: &semservev1.ModelInfo{Name: "words"}}, nil
}

func (a *answering) LoadModel(
	_ context.Context, request *semservev1.LoadModelRequest,
) (*semservev1.LoadModelResponse, error) {
	if request.GetModel() != "words" {
		return nil, status.Errorf(codes.NotFound, "no bundle %q", request.GetModel())
	}
	return &semservev1.LoadModelResponse{Model: &semservev1.ModelInfo{Name: "words"}}, nil
}

func (a *answering) UnloadModel(
	_ context.Context, request *semservev1.UnloadModelRequest,
) (*semservev1.UnloadModelResponse, error) {
	if request.GetModel() != "words" {
		return nil, status.Errorf(codes.NotFound, "no model %q", request.GetModel())
	}
	return &semservev1.UnloadModelResponse{}, nil
}

func (a *answering) Tokenize(
	_ context.Context, request *semservev1.TokenizeRequest,
) (*semservev1.TokenizeResponse, error) {
	answer := &semservev1.TokenizeResponse{Model: request.GetModel()}
	for _, text := range request.GetTexts() {
		result := &semservev1.TokenizeResult{Tokens: strings.Fields(text)}
		answer.Results = append(answer.Results, result)
	}
	return answer, nil
}

func refused(field, description string) *status.Status {
	made, err := status.New(codes.InvalidArgument, field+": "+description).WithDetails(
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: field, Description: description},
		}},
	)
	if err != nil {
		panic(err)
	}
	return made
}
