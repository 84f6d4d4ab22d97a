package semserve_test

import (
	"context"
	"math"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	semserve "github.com/semserve/semserve/clients/go"
	"github.com/semserve/semserve/clients/go/semservev1"
)

func (a *answering) Score(
	_ context.Context, request *semservev1.ScoreRequest,
) (*semservev1.ScoreResponse, error) {
	a.scored = request
	answer := &semservev1.ScoreResponse{
		Model: "words", Usage: &semservev1.Usage{TokenCount: 9}, TruncatedTokens: 2,
	}
	for i, pair := range request.GetPairs() {
		score := float32(len(pair.GetLeft()) - len(pair.GetRight()))
		if pair.GetLeft() == "" {
			score = float32(math.NaN())
			answer.Errors = append(answer.Errors, &semservev1.ScoreError{
				Index: int32(i), Error: refused("pairs[0].left", "is empty").Proto(),
			})
		}
		answer.Scores = append(answer.Scores, score)
	}
	for _, text := range request.GetTexts() {
		answer.Scores = append(answer.Scores, float32(len(text)))
	}
	return answer, nil
}

func (a *answering) Rerank(
	_ context.Context, request *semservev1.RerankRequest,
) (*semservev1.RerankResponse, error) {
	a.reranked = request
	return &semservev1.RerankResponse{Hits: []*semservev1.Hit{{Index: 1, Score: 2.5}}, TruncatedTokens: 6}, nil
}

func TestPairsAreScoredInTheirOrder(t *testing.T) {
	server := new(answering)
	answer, err := server.dial(t).ScorePairs(t.Context(),
		[]semserve.ScorePair{{Left: "abc", Right: "a"}, {Left: "a", Right: "ab"}},
		semserve.WithModel("words"), semserve.WithTruncation(semserve.TruncationStart))
	if err != nil {
		t.Fatal(err)
	}
	same(t, []float32{2, -1}, answer.Scores)
	same(t, "words", answer.Model)
	same(t, int64(9), answer.Usage.TokenCount)
	same(t, 2, answer.TruncatedTokens)
	sameMessage(t, &semservev1.ScoreRequest{
		Model: "words", Truncation: semservev1.Truncation_TRUNCATION_START,
		Pairs: []*semservev1.ScorePair{{Left: "abc", Right: "a"}, {Left: "a", Right: "ab"}},
	}, server.scored)
}

func TestTextsAreScoredInTheirOrder(t *testing.T) {
	server := new(answering)
	answer, err := server.dial(t).ScoreTexts(t.Context(), []string{"abc", "a"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, []float32{3, 1}, answer.Scores)
	sameMessage(t, &semservev1.ScoreRequest{Texts: []string{"abc", "a"}}, server.scored)
}

func TestABadPairOfPartialScoresHasItsOwnError(t *testing.T) {
	answer, err := new(answering).dial(t).ScorePairs(t.Context(),
		[]semserve.ScorePair{{Right: "a"}, {Left: "a", Right: "b"}}, semserve.WithPartial())
	if err != nil {
		t.Fatal(err)
	}
	same(t, true, math.IsNaN(float64(answer.Scores[0])))
	same(t, float32(0), answer.Scores[1])
	same(t, 1, len(answer.Errs))
	same(t, codes.InvalidArgument, status.Code(answer.Errs[0]))
}

func TestRerankAnswersWithPlacesBestFirst(t *testing.T) {
	server := new(answering)
	found, err := server.dial(t).Rerank(t.Context(), "query", []string{"a", "b"}, semserve.WithTopK(1),
		semserve.WithTruncation(semserve.TruncationNone))
	if err != nil {
		t.Fatal(err)
	}
	same(t, []semserve.Hit{{Index: 1, Score: 2.5}}, found.Scores)
	same(t, 6, found.TruncatedTokens)
	sameMessage(t, &semservev1.RerankRequest{
		Query: "query", Documents: []string{"a", "b"}, TopK: proto.Int32(1),
		Truncation: semservev1.Truncation_TRUNCATION_NONE,
	}, server.reranked)
}
