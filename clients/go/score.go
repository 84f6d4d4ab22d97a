package semserve

import (
	"context"

	"github.com/semserve/semserve/clients/go/semservev1"
)

// ScorePair is two texts that a score model reads together.
type ScorePair struct{ Left, Right string }

// PairScores answers a request to score.
type PairScores struct {
	// Model is the name of the model that answered.
	Model string
	// Scores holds one number a pair or text, in their order; NaN where Errs has an error.
	Scores []float32
	// Errs holds why a pair or text has no score, by its place: an [*Error], never set without
	// [WithPartial].
	Errs map[int]error
	// Usage is what the request cost, in tokens.
	Usage Usage
	// TruncatedTokens is how many tokens truncation dropped from all pairs or texts.
	TruncatedTokens int
}

// ScorePairs gives each pair the number of a score model of pairs, in their order.
func (c *Client) ScorePairs(
	ctx context.Context, pairs []ScorePair, options ...ScoringOption,
) (*PairScores, error) {
	request := scoreRequest(settle(options))
	request.Pairs = make([]*semservev1.ScorePair, len(pairs))
	for i, pair := range pairs {
		request.Pairs[i] = &semservev1.ScorePair{Left: pair.Left, Right: pair.Right}
	}
	return c.scores(ctx, request)
}

// ScoreTexts gives each text the number of a score model of single texts, in their order.
func (c *Client) ScoreTexts(
	ctx context.Context, texts []string, options ...ScoringOption,
) (*PairScores, error) {
	request := scoreRequest(settle(options))
	request.Texts = texts
	return c.scores(ctx, request)
}

// Rerank sorts documents by the number that a score model gives the query and each, best first.
func (c *Client) Rerank(
	ctx context.Context, query string, documents []string, options ...RerankOption,
) (*Scored[[]Hit], error) {
	chosen := settle(options)
	answer, err := c.score.Rerank(ctx, &semservev1.RerankRequest{
		Model: chosen.model, Query: query, Documents: documents, TopK: chosen.topK,
		Truncation: chosen.truncation,
	})
	if err != nil {
		return nil, err
	}
	return scored(answer, hits(answer.GetHits())), nil
}

func scoreRequest(chosen settings) *semservev1.ScoreRequest {
	return &semservev1.ScoreRequest{
		Model: chosen.model, Truncation: chosen.truncation, AllowPartial: chosen.allowPartial,
	}
}

func (c *Client) scores(
	ctx context.Context, request *semservev1.ScoreRequest,
) (*PairScores, error) {
	answer, err := c.score.Score(ctx, request)
	if err != nil {
		return nil, err
	}
	made := &PairScores{
		Model:           answer.GetModel(),
		Scores:          answer.GetScores(),
		Errs:            make(map[int]error, len(answer.GetErrors())),
		Usage:           usage(answer.GetUsage()),
		TruncatedTokens: int(answer.GetTruncatedTokens()),
	}
	for _, failed := range answer.GetErrors() {
		made.Errs[int(failed.GetIndex())] = fromProto(failed.GetError())
	}
	return made, nil
}
