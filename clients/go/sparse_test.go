package semserve_test

import (
	"context"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	semserve "github.com/semserve/semserve/clients/go"
	"github.com/semserve/semserve/clients/go/semservev1"
)

func (a *answering) EmbedSparse(
	_ context.Context, request *semservev1.EmbedSparseRequest,
) (*semservev1.EmbedSparseResponse, error) {
	a.sparse = request
	answer := &semservev1.EmbedSparseResponse{Model: "words"}
	for _, text := range request.GetTexts() {
		result := &semservev1.EmbedSparseResult{Indices: []uint32{3, 70000}, Values: []float32{0.5, 2}}
		if text == "" {
			result = &semservev1.EmbedSparseResult{Error: refused("texts[1]", "is empty").Proto()}
		}
		answer.Results = append(answer.Results, result)
	}
	return answer, nil
}

func (a *answering) GetServerInfo(
	context.Context, *semservev1.GetServerInfoRequest,
) (*semservev1.GetServerInfoResponse, error) {
	return &semservev1.GetServerInfoResponse{
		Version: "1.2.3", Limits: &semservev1.ServerLimits{MaxRequestTexts: 7},
	}, nil
}

func TestSparseVectorsComeWithTheirOptions(t *testing.T) {
	server := new(answering)
	answer, err := server.dial(t).EmbedSparse(t.Context(), []string{"a", ""},
		semserve.WithModel("words"), semserve.WithTopK(2), semserve.WithPrompt("query"),
		semserve.WithTokens(), semserve.WithPartial(),
		semserve.WithTruncation(semserve.TruncationEnd))
	if err != nil {
		t.Fatal(err)
	}
	same(t, []uint32{3, 70000}, answer.Results[0].Indices)
	same(t, []float32{0.5, 2}, answer.Results[0].Values)
	same(t, codes.InvalidArgument, status.Code(answer.Results[1].Err))
	sameMessage(t, &semservev1.EmbedSparseRequest{
		Model: "words", Texts: []string{"a", ""}, TopK: proto.Int32(2),
		Truncation: semservev1.Truncation_TRUNCATION_END, AllowPartial: true,
		PromptName: proto.String("query"), IncludeTokens: true,
	}, server.sparse)
}

func TestPromptsAndSidesTravel(t *testing.T) {
	server := new(answering)
	server.embed = func(
		_ context.Context, request *semservev1.EmbedRequest,
	) (*semservev1.EmbedResponse, error) {
		server.embedded = request
		return &semservev1.EmbedResponse{}, nil
	}
	client := server.dial(t)
	none := semserve.WithPrompt("")
	if _, err := client.Embed(t.Context(), []string{"a"}, none, semserve.WithSide(semserve.SideRight)); err != nil {
		t.Fatal(err)
	}
	sameMessage(t, &semservev1.EmbedRequest{
		Texts: []string{"a"}, PromptName: proto.String(""), Side: semservev1.Side_SIDE_RIGHT,
	}, server.embedded)
	documents := semserve.WithDocumentPrompt("passage")
	if _, err := client.Rank(t.Context(), "q", []string{"a"}, semserve.WithPrompt("query"), documents); err != nil {
		t.Fatal(err)
	}
	sameMessage(t, &semservev1.RankRequest{
		Query: "q", Documents: []string{"a"}, PromptName: proto.String("query"),
		DocumentPromptName: proto.String("passage"),
	}, server.ranked)
	if _, err := client.Search(t.Context(), []string{"q"}, []string{"a"}, documents); err != nil {
		t.Fatal(err)
	}
	sameMessage(t, &semservev1.SearchRequest{
		Queries: []string{"q"}, Corpus: []string{"a"}, DocumentPromptName: proto.String("passage"),
	}, server.searched)
	right := semserve.WithRightPrompt("passage")
	if _, err := client.Matrix(t.Context(), []string{"a"}, nil, semserve.WithPrompt("query"), right); err != nil {
		t.Fatal(err)
	}
	sameMessage(t, &semservev1.MatrixRequest{
		Left: []string{"a"}, PromptName: proto.String("query"), RightPromptName: proto.String("passage"),
	}, server.crossed)
	if _, err := client.Compare(t.Context(), []semserve.ComparePair{{Left: "a", Right: "b"}}, right); err != nil {
		t.Fatal(err)
	}
	sameMessage(t, &semservev1.CompareRequest{
		Pairs: []*semservev1.ComparePair{{Left: "a", Right: "b"}}, RightPromptName: proto.String("passage"),
	}, server.compared)
}

func TestServerInfoTellsVersionAndLimits(t *testing.T) {
	info, err := new(answering).dial(t).ServerInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, "1.2.3", info.GetVersion())
	same(t, 7, int(info.GetLimits().GetMaxRequestTexts()))
}
